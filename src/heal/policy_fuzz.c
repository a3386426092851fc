/* Policy files come from people. */
#include "base/fuzz.h"
#include "heal/policy.h"

FUZZ(input)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    AUTO(buf_done) buf out = BUF_INIT(1u << 20);
    heal_config c = { .mode = HEAL_AUTO, .arena = arena_init(4u << 20) };
    if (yaml_parse(input, "fuzz.yml", &doc, NULL) == OK && policy_file_parse(doc, &c, NULL) == OK)
        for (size_t i = 0; i < c.policy_count; i++)
            policy_explain(&c.policies[i], c.mode, i & 1, &out);
    arena_done(&c.arena);
}
