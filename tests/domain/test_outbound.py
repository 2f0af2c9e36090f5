"""Which URLs and addresses a key's owner may set, and how an operator widens that."""

from ipaddress import ip_address

import pytest

from app.domain.outbound import NOT_PUBLIC, Allowance, Target, UnusableUrl, is_public, parse, refusal

NOBODY = Allowance()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://logs.example", Target("https", "logs.example", 443, "/", None)),
        ("http://logs.example/a/b?c=d#e", Target("http", "logs.example", 80, "/a/b?c=d", None)),
        ("HTTPS://Logs.Example.:8443?x", Target("https", "logs.example", 8443, "/?x", None)),
        ("http://a_b.example", Target("http", "a_b.example", 80, "/", None)),
        ("http://8.8.8.8:81/", Target("http", "8.8.8.8", 81, "/", ip_address("8.8.8.8"))),
        ("http://[::1]:9/x", Target("http", "::1", 9, "/x", ip_address("::1"))),
        ("http://[2001:0DB8::0001]", Target("http", "2001:db8::1", 80, "/", ip_address("2001:db8::1"))),
        ("http://xn--bcher-kva.example", Target("http", "xn--bcher-kva.example", 80, "/", None)),
    ],
)
def test_a_plain_url_is_read_in_parts(url: str, expected: Target):
    assert parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "logs.example",
        "//logs.example/",
        "ftp://logs.example",
        "file:///etc/passwd",
        "gopher://logs.example",
        "unix:///run/x.sock",
        "http://",
        "http:///path",
        "http://user@logs.example",
        "http://user:password@logs.example",
        "http://logs.example@127.0.0.1/",
        "http://127.0.0.1\\@logs.example/",
        "http://logs.example\\.internal/",
        "http://logs.example:0/",
        "http://logs.example:65536/",
        "http://logs.example:http/",
        "http://logs.example:80:80/",
        "http://logs.example:/x y",
        "http://logs.example/\r\nHost: other",
        "http://logs.example/\x00",
        "http://logs.example\t/",
        " http://logs.example/",
        "http://bücher.example/",
        "http://①27.0.0.1/",
        "http://127。0。0。1/",
        "http://127.0.0.1.",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.0x1/",
        "http://0127.0.0.1/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://0/",
        "http://[::1%25eth0]/",
        "http://[::1%eth0]/",
        "http://[fe80::1%1]/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/",
        "http://::1/",
        "http://[::1/",
        "http://-logs.example/",
        "http://logs..example/",
        "http://.example/",
        "http://" + "a." * 130 + "example/",
        "http://logs.example/" + "x" * 2048,
    ],
)
def test_a_url_that_could_be_read_two_ways_or_holds_more_than_an_address_is_refused(url: str):
    with pytest.raises(UnusableUrl):
        parse(url)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str):
    target = Target("http", "logs.example", 80, "/", None)

    assert refusal(target, [ip_address(address)], NOBODY) == NOT_PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_a_public_address_is_allowed(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", ["metadata.google.internal", "metadata.goog", "metadata", "instance-data"])
def test_a_metadata_name_is_refused_wherever_it_leads(host: str):
    target = parse(f"http://{host}/computeMetadata/v1/")

    assert refusal(target, [ip_address("8.8.8.8")], NOBODY) == NOT_PUBLIC
    assert refusal(target, [ip_address("169.254.169.254")], Allowance.parse("169.254.169.254")) == NOT_PUBLIC
    assert refusal(target, [ip_address("169.254.169.254")], Allowance.parse(host)) is None


def test_one_private_address_among_public_ones_refuses_the_name():
    target = parse("http://logs.example")

    assert refusal(target, [ip_address("8.8.8.8"), ip_address("10.0.0.1")], NOBODY) == NOT_PUBLIC
    assert refusal(target, [ip_address("8.8.8.8"), ip_address("8.8.4.4")], NOBODY) is None


@pytest.mark.parametrize(
    ("listed", "url", "address", "is_allowed"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000", "127.0.0.1", True),
        ("127.0.0.1", "http://127.0.0.2:9000", "127.0.0.2", False),
        ("127.0.0.1", "http://logs.example", "127.0.0.1", True),
        ("127.0.0.1", "http://logs.example", "::ffff:127.0.0.1", True),
        ("127.0.0.1:9000", "http://127.0.0.1:9000", "127.0.0.1", True),
        ("127.0.0.1:9000", "http://127.0.0.1:9001", "127.0.0.1", False),
        ("10.1.0.0/16", "http://logs.example", "10.1.2.3", True),
        ("10.1.0.0/16", "http://logs.example", "10.2.2.3", False),
        ("fd00::/8", "http://[fd00::1]", "fd00::1", True),
        ("fd00::/8", "http://[fe80::1]", "fe80::1", False),
        ("[::1]:8080", "http://[::1]:8080", "::1", True),
        ("[::1]:8080", "http://[::1]:8081", "::1", False),
        ("::1", "http://[::1]:8081", "::1", True),
        ("Logs.Internal", "http://logs.internal:1", "10.0.0.1", True),
        ("logs.internal.", "http://logs.internal:1", "10.0.0.1", True),
        ("logs.internal:443", "https://logs.internal", "10.0.0.1", True),
        ("logs.internal:443", "http://logs.internal", "10.0.0.1", False),
        ("logs.internal", "http://a.logs.internal", "10.0.0.1", False),
        ("logs.internal", "http://logs.internal.example", "10.0.0.1", False),
        ("a.internal, 10.0.0.0/8\n b.internal:80", "http://b.internal", "192.168.0.1", True),
        ("", "http://logs.internal", "10.0.0.1", False),
    ],
)
def test_the_operator_lists_hosts_addresses_and_networks(listed: str, url: str, address: str, is_allowed: bool):
    target = parse(url)

    refused = refusal(target, [ip_address(address)], Allowance.parse(listed))

    assert (refused is None) == is_allowed


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        *((entry, entry) for entry in ("http://logs.internal", "logs.internal/path", "10.0.0.1/8", "10.0.0.0/33")),
        *((entry, entry) for entry in ("*.internal", "a:b", "2130706433", "127.1")),
        ("logs.internal:0", "logs.internal"),
        ("logs.internal:70000", "logs.internal"),
        ("user:password@logs.internal", "logs.internal"),
    ],
)
def test_a_list_that_says_something_else_is_refused_with_the_entry(listed: str, shown: str):
    with pytest.raises(ValueError, match=r"is no host, address or network|has no possible port") as refused:
        Allowance.parse(f"10.0.0.0/8, {listed}")

    assert repr(shown) in str(refused.value)
    assert "password" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "others"),
    [
        ("http://10.0.0.7:8080/hook", ["http://10.0.0.7/hook", "http://10.0.0.8:8080/hook"]),
        ("https://hooks.internal/x", ["http://hooks.internal/x", "https://other.internal/x"]),
        ("https://[fd00::7]:9000/", ["https://[fd00::8]:9000/", "https://[fd00::7]/"]),
    ],
)
def test_a_url_of_the_operator_allows_its_own_host_and_port_and_no_other(url: str, others: list[str]):
    allowance = Allowance.of(url)
    private = ip_address("10.0.0.9")

    allowed = [
        refusal(target, [target.address or private], allowance) is None for target in map(parse, [url, *others])
    ]

    assert allowed == [True, False, False]
