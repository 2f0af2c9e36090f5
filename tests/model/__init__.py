"""The rules of policy versions and balances as pure code, and a machine that interleaves their steps.

Nothing here touches Redis, SQL or Flask: `redis.py` holds each script as one method, `sql.py` each transaction as
one, `requests.py` how a request goes from one to the next. The names are those of `app/store/policies.py` and
`app/store/balances.py`, so that model and code can be read side by side.
"""
