"""Which test proves the effect of each field, parameter and header of the key-management API document."""

from dataclasses import dataclass

GENERATE = "tests.api.test_generate"
GENERATE_LIMITS = "tests.api.test_generate_limits"
UPDATE = "tests.api.test_update"
UPDATE_LIMITS = "tests.api.test_update_limits"
AUTH = "tests.api.test_auth"
GRANTS = "tests.api.test_grants"
LIST = "tests.api.test_list"
LIST_SCOPE = "tests.api.test_list_scope"
INFO = "tests.api.test_info"
DELETE = "tests.api.test_delete"
BLOCK = "tests.api.test_block"
HEADERS = "tests.api.test_headers"
OPERATIONS = "tests.api.test_operations"
HEALTH = "tests.workers.test_key_health"
VERIFY = "tests.api.test_verify_settings"
MESSAGES = "tests.deliveries.test_whole_way"


@dataclass(frozen=True)
class Proof:
    """A test, as module::function."""

    test: str | None


def proven(module: str, function: str) -> Proof:
    return Proof(f"{module}::{function}")


SOFT_BUDGET = proven(MESSAGES, "test_a_soft_budget_that_is_set_below_the_spend_is_told_on_slack")
CHANGED_BY = proven(HEADERS, "test_every_change_records_the_claim_beside_the_real_caller_and_the_request")

# What the next call of the key feels, however the field was set.
FORBIDS = proven(VERIFY, "test_a_setting_refuses_the_calls_that_it_forbids_and_no_others")
FORBIDS_LATER = proven(VERIFY, "test_a_setting_that_no_new_secret_brings_refuses_the_calls_that_it_forbids")
DELIVERED = proven(VERIFY, "test_a_setting_that_gateways_act_upon_is_delivered_to_them")
FELT: dict[str, Proof] = {
    "max_budget": FORBIDS,
    "model_max_budget": FORBIDS,
    "max_parallel_requests": FORBIDS,
    "rpm_limit": FORBIDS,
    "tpm_limit": FORBIDS,
    "model_rpm_limit": FORBIDS,
    "model_tpm_limit": FORBIDS,
    "allowed_cache_controls": FORBIDS,
    "guardrails": DELIVERED,
    "tags": proven(VERIFY, "test_tags_of_a_key_label_what_its_calls_cost"),
    "permissions": proven(VERIFY, "test_permissions_make_a_gateway_of_a_key"),
}
FELT_BUT_NOT_WITH_A_SECRET: dict[str, Proof] = {
    "aliases": proven(VERIFY, "test_aliases_name_the_model_that_is_called_and_counted"),
    "config": proven(VERIFY, "test_a_setting_that_no_new_secret_brings_is_delivered"),
    "enforced_params": FORBIDS_LATER,
    "object_permission": FORBIDS_LATER,
}

FILTERED = proven(LIST, "test_filters_are_exact_and_narrow_each_other")
PAGED = proven(LIST, "test_newest_come_first_and_pages_never_overlap")
SORTED = proven(LIST, "test_missing_values_come_last_in_both_directions")

REGENERATE = "tests.api.test_regenerate"
REGENERATE_EFFECTS = "tests.api.test_regenerate_effects"
REGENERATED = {
    **FELT,
    "key": proven(REGENERATE, "test_the_key_may_be_named_by_query_hash_or_body_and_names_must_agree"),
    "key_alias": proven(REGENERATE_EFFECTS, "test_the_key_is_found_by_its_new_key_alias_user_id_and_team_id"),
    "user_id": proven(REGENERATE_EFFECTS, "test_the_key_is_found_by_its_new_key_alias_user_id_and_team_id"),
    "team_id": proven(REGENERATE_EFFECTS, "test_the_key_is_found_by_its_new_key_alias_user_id_and_team_id"),
    "models": proven(REGENERATE_EFFECTS, "test_models_are_those_of_the_new_secret"),
    "spend": proven(REGENERATE_EFFECTS, "test_a_spend_is_a_correction_in_the_ledger"),
    "budget_duration": proven(REGENERATE_EFFECTS, "test_a_budget_duration_resets_the_spend_at_its_instant"),
    "soft_budget": SOFT_BUDGET,
    "metadata": proven(REGENERATE, "test_a_setting_sent_with_it_is_changed"),
    "duration": proven(REGENERATE_EFFECTS, "test_a_duration_refuses_the_new_secret_at_its_instant"),
    "blocked": proven(REGENERATE_EFFECTS, "test_a_key_that_is_blocked_with_it_is_refused"),
    "litellm-changed-by": proven(REGENERATE_EFFECTS, "test_the_litellm_changed_by_claim_is_recorded"),
}

EFFECTS: dict[str, dict[str, Proof]] = {
    "POST /key/generate": {
        **FELT,
        **FELT_BUT_NOT_WITH_A_SECRET,
        "duration": proven(GENERATE_LIMITS, "test_a_key_is_refused_from_the_instant_of_its_expiry"),
        "key_alias": proven(LIST, "test_filters_are_exact_and_narrow_each_other"),
        "key": proven(GENERATE, "test_a_chosen_key_opens_what_was_made_for_it"),
        "team_id": proven(AUTH, "test_a_key_of_a_blocked_team_is_refused_by_the_name_of_the_team"),
        "user_id": proven(INFO, "test_an_owner_sees_its_own_keys_and_no_others"),
        "budget_id": proven(GENERATE_LIMITS, "test_a_tier_gives_its_window_and_is_shown"),
        "models": proven(OPERATIONS, "test_a_key_lists_its_own_models"),
        "spend": proven(GENERATE_LIMITS, "test_spend_at_birth_is_a_correction_in_the_ledger"),
        "send_invite_email": proven(MESSAGES, "test_send_invite_email_on_generate_mails_the_user_of_the_key"),
        "budget_duration": proven(
            INFO, "test_the_spend_of_a_window_that_has_passed_reads_as_zero_before_any_job_runs"
        ),
        "metadata": proven(HEALTH, "test_the_destination_gets_the_facts_of_the_key_and_nothing_secret"),
        "blocked": proven(AUTH, "test_blocked_comes_before_expired_and_expired_before_the_team"),
        "soft_budget": SOFT_BUDGET,
        "allowed_routes": proven(AUTH, "test_a_key_reaches_the_routes_that_it_lists_and_no_others"),
        "litellm-changed-by": CHANGED_BY,
    },
    "POST /key/update": {
        **FELT,
        **FELT_BUT_NOT_WITH_A_SECRET,
        "key": proven(UPDATE, "test_a_key_is_found_by_plaintext_hash_and_alias"),
        "key_alias": proven(UPDATE, "test_a_key_is_found_by_plaintext_hash_and_alias"),
        "user_id": proven(LIST_SCOPE, "test_an_administrator_may_ask_for_what_somebody_owns_or_made"),
        "team_id": proven(
            UPDATE_LIMITS, "test_a_key_that_is_put_into_a_team_falls_with_it_and_rises_when_it_leaves"
        ),
        "budget_id": proven(UPDATE_LIMITS, "test_a_tier_that_is_linked_later_gives_its_window"),
        "models": proven(UPDATE, "test_models_that_change_are_listed_at_once"),
        "spend": proven(UPDATE_LIMITS, "test_a_set_spend_is_a_correction_and_lifetime_moves_with_it"),
        "budget_duration": proven(
            UPDATE_LIMITS, "test_a_window_that_is_armed_late_starts_at_zero_and_one_that_goes_leaves_the_spend"
        ),
        "soft_budget": SOFT_BUDGET,
        "metadata": proven(UPDATE, "test_sent_metadata_replaces_the_stored_and_folded_settings_go_on_top"),
        "duration": proven(UPDATE_LIMITS, "test_an_expired_key_that_is_given_time_works_again"),
        "send_invite_email": proven(MESSAGES, "test_send_invite_email_on_update_mails_the_user_of_the_key"),
        "blocked": proven(UPDATE, "test_blocking_by_update_is_felt_by_the_next_request"),
        "temp_budget_increase": proven(
            GRANTS, "test_a_temporary_increase_raises_what_a_key_may_give_until_it_ends"
        ),
        "temp_budget_expiry": proven(GRANTS, "test_a_temporary_increase_raises_what_a_key_may_give_until_it_ends"),
        "allowed_routes": proven(UPDATE, "test_routes_that_are_taken_away_are_refused_at_once"),
        "litellm-changed-by": CHANGED_BY,
    },
    "POST /key/delete": {
        "keys": proven(DELETE, "test_keys_are_deleted_by_plaintext_hash_and_alias_and_listed_as_sent"),
        "key_aliases": proven(DELETE, "test_keys_are_deleted_by_plaintext_hash_and_alias_and_listed_as_sent"),
        "litellm-changed-by": CHANGED_BY,
    },
    "POST /key/block": {
        "key": proven(BLOCK, "test_a_blocked_key_is_refused_by_the_next_request_and_an_unblocked_one_is_not"),
        "litellm-changed-by": CHANGED_BY,
    },
    "POST /key/unblock": {
        "key": proven(BLOCK, "test_a_blocked_key_is_refused_by_the_next_request_and_an_unblocked_one_is_not"),
        "litellm-changed-by": CHANGED_BY,
    },
    "GET /key/info": {
        "key": proven(INFO, "test_the_key_is_echoed_as_it_was_asked_for"),
    },
    "GET /key/list": {
        "page": PAGED,
        "size": PAGED,
        "user_id": FILTERED,
        "team_id": FILTERED,
        "organization_id": FILTERED,
        "key_hash": proven(LIST, "test_a_key_is_found_by_its_hash_and_not_by_its_plaintext"),
        "key_alias": FILTERED,
        "return_full_object": proven(LIST, "test_keys_are_hashes_unless_objects_are_asked_for"),
        "include_team_keys": proven(
            LIST_SCOPE, "test_a_user_sees_its_own_keys_and_those_of_its_teams_that_it_asks_for"
        ),
        "sort_by": SORTED,
        "sort_order": SORTED,
    },
    "POST /key/health": {},
    "POST /key/regenerate": REGENERATED,
    "POST /key/{key}/regenerate": {
        **REGENERATED,
        "key": proven(REGENERATE, "test_without_a_choice_the_new_secret_is_random"),
    },
}

# The answer of each operation, field by field.
ROW = proven(BLOCK, "test_both_answer_the_whole_row_without_the_plaintext")
ROTATED = proven(REGENERATE, "test_the_new_secret_opens_the_key_and_the_old_one_opens_nothing")
ANSWERS: dict[str, Proof] = {
    "POST /key/generate": proven(GENERATE, "test_the_answer_holds_everything_that_clients_read"),
    "POST /key/update": proven(UPDATE, "test_the_answer_is_the_row_as_it_is_now"),
    "POST /key/delete": proven(DELETE, "test_keys_are_deleted_by_plaintext_hash_and_alias_and_listed_as_sent"),
    "POST /key/block": ROW,
    "POST /key/unblock": ROW,
    "GET /key/info": proven(INFO, "test_it_holds_every_column_that_clients_read_and_no_token"),
    "GET /key/list": PAGED,
    "POST /key/health": proven(HEALTH, "test_a_bucket_that_takes_the_log_answers_as_the_document_says"),
    "POST /key/regenerate": ROTATED,
    "POST /key/{key}/regenerate": ROTATED,
}
