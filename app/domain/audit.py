"""What the audit calls the entities, and what LiteLLM calls them: the names of its tables."""

TABLE_NAMES = {
    "key": "LiteLLM_VerificationToken",
    "team": "LiteLLM_TeamTable",
    "user": "LiteLLM_UserTable",
    "organization": "LiteLLM_OrganizationTable",
    "budget": "LiteLLM_BudgetTable",
}
_ENTITIES = {table: entity for entity, table in TABLE_NAMES.items()}


def table_name(entity: str) -> str:
    """LiteLLM's table for an entity; our own name where it has none."""
    return TABLE_NAMES.get(entity, entity)


def entity_named(name: str) -> str:
    """The entity that a request names, by our name for it or by LiteLLM's."""
    return _ENTITIES.get(name, name)
