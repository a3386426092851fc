#include "heal/policy.h"

err_kind (*policy_check_expr)(str expr, err *e);

static const char *const mode_names[] = { "off", "suggest", "auto" };
const char *heal_mode_name(heal_mode m)
{
    return (size_t)m < COUNT_OF(mode_names) ? mode_names[m] : "off";
}

heal_mode policy_effective_mode(const policy *p, heal_mode global)
{
    return MIN(p->mode, global);
}

const policy *heal_config_find(const heal_config *c, str name)
{
    for (size_t i = 0; i < c->policy_count; i++)
        if (str_eq(c->policies[i].name, name))
            return &c->policies[i];
    return NULL;
}

bool policy_subject_split(str subject, str *job, str *instance)
{
    str rest = str_skip(subject, strlen("replica:"));
    ptrdiff_t slash = str_find_char(rest, '/');
    if (!str_starts(subject, STR("replica:")) || slash < 0)
        return false;
    *job = str_sub(rest, 0, (size_t)slash);
    *instance = str_skip(rest, (size_t)slash + 1);
    return true;
}

err_kind policy_expr_fill(str expr, str subject, int64_t since_action_ms, buf *out, err *e)
{
    str job = STR_EMPTY, instance = STR_EMPTY;

    policy_subject_split(subject, &job, &instance);
    for (ptrdiff_t at; (at = str_find_char(expr, '$')) >= 0;) {
        buf_append(out, str_sub(expr, 0, (size_t)at));
        expr = str_skip(expr, (size_t)at);
        if (str_starts(expr, STR("$replica"))) {
            diagnose_replica_matchers(job, instance, out);
            expr = str_skip(expr, strlen("$replica"));
        } else if (str_starts(expr, STR("$since_action"))) {
            buf_printf(out, "%" PRId64 "ms", MAX(since_action_ms, 1));
            expr = str_skip(expr, strlen("$since_action"));
        } else {                   /* an end-of-text anchor in a regular expression, most likely */
            buf_append_char(out, '$');
            expr = str_skip(expr, 1);
        }
    }
    buf_append(out, expr);
    return buf_failed(out) ? err_set(e, out->failed, "could not fill in the expression for %" STR_FMT, STR_ARG(subject)) : OK;
}

/* ---- parsing ---- */
static err_kind expr_parse(const yaml_doc *doc, const yaml_node *n, arena *a, str *ret, err *e)
{
    AUTO(buf_done) buf filled = BUF_INIT(2 * POLICY_EXPR_MAX);
    err why = { 0 };

    if (!n || n->kind == YAML_NULL)
        return OK;
    err_kind k = config_str(doc, n, a, ret, e);
    if (k)
        return k;
    if (ret->len > POLICY_EXPR_MAX)
        return yaml_error(doc, n, e, "the expression is longer than %d bytes", POLICY_EXPR_MAX);
    if ((k = policy_expr_fill(*ret, STR("replica:job/instance"), MS_PER_S, &filled, e)) || !policy_check_expr)
        return k;
    k = policy_check_expr(buf_str(&filled), &why);
    if (k == OK || k == ERR_NOMEM)
        return k ? err_nomem(e) : OK;
    yaml_error(doc, n, e, "cannot read the expression: %s", why.message);
    return why.hint[0] ? err_hint(e, "%s", why.hint) : ERR_PARSE;
}

typedef struct trigger_yaml { config_strs cause; str alert; const yaml_node *expr; int64_t for_ms; } trigger_yaml;
static const config_field trigger_fields[] = {
    { .key = "cause", .type = CONFIG_STR_LIST, .offset = offsetof(trigger_yaml, cause), .help = "Any of these causes, as diagnose names them." },
    { .key = "alert", .type = CONFIG_STR, .offset = offsetof(trigger_yaml, alert), .help = "This alert is firing for a replica." },
    { .key = "expr", .type = CONFIG_NODE, .offset = offsetof(trigger_yaml, expr), .help = "This expression answers; job and instance of each series name the target." },
    { .key = "for", .type = CONFIG_DURATION, .offset = offsetof(trigger_yaml, for_ms), .preset = "0s", .min = 0, .max = 86400000, .help = "It must answer for this long (expr only)." },
};

static err_kind check_cause(const yaml_doc *doc, const yaml_node *n, str cause, err *e)
{
    const char *known[32];
    size_t count = 0;
    bool act;

    for (const char *name; count < COUNT_OF(known) && (name = diagnose_cause_at(count, &act)); count++) {
        known[count] = name;
        if (!str_is(cause, name))
            continue;
        if (act || strcmp(name, "inconclusive") == 0)
            return OK;
        yaml_error(doc, n, e, "nothing may be done about the cause \"%s\"", name);
        return err_hint(e, "A %s engine works; a restart would throw that work away. Let an alert rule tell people instead.", name);
    }
    return config_unknown(doc, n, "cause", cause, known, count, e);
}

static err_kind trigger_parse(const yaml_doc *doc, const yaml_node *n, arena *a, policy *p, err *e)
{
    trigger_yaml t = { 0 };
    err_kind k = config_bind(doc, n, trigger_fields, COUNT_OF(trigger_fields), &t, a, e);
    if (k)
        return k;
    int given = (t.cause.len > 0) + !str_empty(t.alert) + (t.expr != NULL);
    if (given != 1) {
        yaml_error(doc, n, e, given ? "a trigger can name only one of cause, alert and expr" : "the trigger names nothing");
        return err_hint(e, "Write trigger: {cause: engine_dead}, {alert: NAME} or {expr: 'PROMQL'}.");
    }
    for (size_t i = 0; i < t.cause.len; i++)
        if ((k = check_cause(doc, n, t.cause.at[i], e)))
            return k;
    if (t.for_ms > 0 && !t.expr)
        return yaml_error(doc, n, e, "\"for\" goes with expr only"), err_hint(e, "Causes and alerts have their own hold times.");
    p->trigger = t.cause.len ? TRIGGER_CAUSE : t.expr ? TRIGGER_EXPR : TRIGGER_ALERT;
    p->causes = t.cause;
    p->alert = t.alert;
    p->for_ms = t.for_ms;
    return expr_parse(doc, t.expr, a, &p->expr, e);
}

static const config_field restart_fields[] = {
    { .key = "grace", .type = CONFIG_DURATION, .offset = offsetof(action, grace_ms), .preset = "10s", .min = 0, .max = 600000, .help = "Between SIGTERM and SIGKILL." },
};
static const config_field exec_fields[] = {
    { .key = "command", .type = CONFIG_STR_LIST, .offset = offsetof(action, command), .required = true, .help = "A list: program and arguments. No shell reads it." },
    { .key = "timeout", .type = CONFIG_DURATION, .offset = offsetof(action, timeout_ms), .preset = "30s", .min = 100, .max = 3600000, .help = "Killed when it runs longer." },
};
static const struct { const char *name; const config_field *fields; size_t count; } action_table[ACTION_COUNT] = {
    [ACTION_RESTART] = { "restart", restart_fields, COUNT_OF(restart_fields) },
    [ACTION_EXEC] = { "exec", exec_fields, COUNT_OF(exec_fields) },
};

const char *action_kind_name(action_kind k)
{
    return (size_t)k < ACTION_COUNT ? action_table[k].name : "";
}

/* `restart` alone is short for {restart: {}}; otherwise a mapping with the action's name as its only key. */
static err_kind named_item(const yaml_doc *doc, const yaml_node *n, const char *what, str *ret_name, const yaml_node **ret_body, err *e)
{
    if (n->kind == YAML_SCALAR) {
        *ret_name = n->text;
        *ret_body = NULL;
        return OK;
    }
    if (n->kind != YAML_MAPPING || n->len != 1) {
        yaml_error(doc, n, e, "each item of \"%s\" must have exactly one name", what);
        return err_hint(e, "Write it like {restart: {}}; several steps are several items.");
    }
    *ret_name = n->keys[0]->text;
    *ret_body = n->items[0];
    return OK;
}

static err_kind action_parse(const yaml_doc *doc, const yaml_node *n, arena *a, action *ret, err *e)
{
    const char *names[ACTION_COUNT];
    const yaml_node *body = NULL;
    str name;
    err_kind k = named_item(doc, n, "do", &name, &body, e);

    for (action_kind i = 0; k == OK && i < ACTION_COUNT; i++) {
        names[i] = action_table[i].name;
        if (!str_is(name, names[i]))
            continue;
        ret->kind = i;
        k = config_bind(doc, body, action_table[i].fields, action_table[i].count, ret, a, e);
        return k || i != ACTION_EXEC ? k : config_check_argv(doc, body, &ret->command, e);
    }
    return k ? k : config_unknown(doc, n, "action", name, names, ACTION_COUNT, e);
}

static err_kind steps_parse(const yaml_doc *doc, const yaml_node *n, arena *a, policy *p, err *e)
{
    err_kind k = config_sequence(doc, n, "\"do\"", e);
    if (k)
        return k;
    if (n->len > POLICY_MAX_STEPS)
        return yaml_error(doc, n, e, "more than %d steps in \"do\"", POLICY_MAX_STEPS);
    if (n->kind != YAML_SEQUENCE || n->len == 0)
        return yaml_error(doc, n, e, "\"do\" names no action"), err_hint(e, "Write do: [{restart: {}}].");
    for (size_t i = 0; i < n->len; i++)
        if ((k = action_parse(doc, n->items[i], a, &p->steps[i], e)))
            return k;
    p->step_count = n->len;
    return OK;
}

static const config_field limits_fields[] = {
    { .key = "cooldown", .type = CONFIG_DURATION, .offset = offsetof(policy, cooldown_ms), .preset = "5m", .min = 0, .max = 7 * 86400000LL, .help = "Between two attempts on one target, whoever made them." },
    { .key = "per_hour", .type = CONFIG_INT, .offset = offsetof(policy, per_hour), .preset = "3", .min = 1, .max = 60, .help = "Attempts on one target in an hour; beyond it a person is needed." },
    { .key = "concurrent", .type = CONFIG_INT, .offset = offsetof(policy, concurrent), .preset = "1", .min = 1, .max = 1000, .help = "Targets being healed at the same time, all policies together." },
};

typedef struct verify_yaml { str probe; const yaml_node *expr; int64_t within_ms, hold_ms; } verify_yaml;
static const config_field verify_fields[] = {
    { .key = "probe", .type = CONFIG_STR, .offset = offsetof(verify_yaml, probe), .help = "completion: a test completion must get a token." },
    { .key = "expr", .type = CONFIG_NODE, .offset = offsetof(verify_yaml, expr), .help = "This must answer, as an alerting rule's expression does." },
    { .key = "within", .type = CONFIG_DURATION, .offset = offsetof(verify_yaml, within_ms), .preset = "60s", .min = 1000, .max = 86400000, .help = "Proof must begin within this time." },
    { .key = "hold", .type = CONFIG_DURATION, .offset = offsetof(verify_yaml, hold_ms), .preset = "30s", .min = 0, .max = 86400000, .help = "And then hold this long." },
};

static err_kind verify_parse(const yaml_doc *doc, const yaml_node *n, arena *a, policy *p, err *e)
{
    static const char *const probes[] = { "completion", "none" };
    verify_yaml v = { 0 };
    err_kind k = config_bind(doc, n, verify_fields, COUNT_OF(verify_fields), &v, a, e);
    if (k)
        return k;
    if (!str_empty(v.probe) && !str_is(v.probe, "completion") && !str_is(v.probe, "none"))
        return config_unknown(doc, yaml_get(n, "probe"), "probe", v.probe, probes, COUNT_OF(probes), e);
    p->verify_probe = str_is(v.probe, "completion");
    p->within_ms = v.within_ms;
    p->hold_ms = v.hold_ms;
    if ((k = expr_parse(doc, v.expr, a, &p->verify_expr, e)))
        return k;
    /* Nothing said: what diagnose itself calls an answer. Never nothing at all. */
    if (!p->verify_probe && str_empty(p->verify_expr))
        p->verify_expr = STR("last_over_time(up{$replica}[$since_action]) == 1");
    return OK;
}

static const config_field escalate_fields[] = {
    { .key = "message", .type = CONFIG_STR, .offset = offsetof(escalation, message), .help = "What people are told." },
    { .key = "webhook", .type = CONFIG_CSTR, .offset = offsetof(escalation, webhook), .help = "This URL gets the episode as JSON by POST." },
    { .key = "command", .type = CONFIG_STR_LIST, .offset = offsetof(escalation, command), .help = "This program is run (a list: program and arguments)." },
};

static err_kind otherwise_parse(const yaml_doc *doc, const yaml_node *n, arena *a, policy *p, err *e)
{
    static const char *const names[] = { "escalate" };
    err_kind k = config_sequence(doc, n, "\"otherwise\"", e);

    if (k || !n || n->kind != YAML_SEQUENCE)
        return k;
    if (n->len > COUNT_OF(p->escalations))
        return yaml_error(doc, n, e, "more than %zu items in \"otherwise\"", COUNT_OF(p->escalations));
    for (size_t i = 0; i < n->len; i++) {
        const yaml_node *body = NULL;
        str name;
        escalation *x = &p->escalations[i];
        if ((k = named_item(doc, n->items[i], "otherwise", &name, &body, e)))
            return k;
        if (!str_is(name, "escalate"))
            return config_unknown(doc, n->items[i], "item of \"otherwise\"", name, names, 1, e);
        if ((k = config_bind(doc, body, escalate_fields, COUNT_OF(escalate_fields), x, a, e)))
            return k;
        if (x->command.len && (k = config_check_argv(doc, body, &x->command, e)))
            return k;
        if (x->webhook && !str_starts(str_from(x->webhook), STR("http://")) && !str_starts(str_from(x->webhook), STR("https://")))
            return yaml_error(doc, yaml_get(body, "webhook"), e, "\"%s\" is no http or https address", x->webhook);
    }
    p->escalation_count = n->len;
    return OK;
}

err_kind policy_mode_parse(const yaml_doc *doc, const yaml_node *n, bool in_policy, heal_mode *ret, bool *ret_approve, err *e)
{
    static const char *const names[] = { "off", "suggest", "auto", "approve" };
    size_t count = in_policy ? 4 : 3;

    *ret = HEAL_SUGGEST;
    if (!n || n->kind == YAML_NULL)
        return OK;
    for (size_t i = 0; n->kind == YAML_SCALAR && i < count; i++)
        if (str_is(n->text, names[i])) {
            *ret = i == 3 ? HEAL_SUGGEST : (heal_mode)i;
            if (ret_approve)
                *ret_approve = i == 3;
            return OK;
        }
    return config_unknown(doc, n, "mode", n->kind == YAML_SCALAR ? n->text : STR("?"), names, count, e);
}

typedef struct policy_yaml {
    str name, description;
    const yaml_node *trigger, *when, *mode, *steps, *limits, *verify, *otherwise;
    int64_t retries;
} policy_yaml;
#define NODE(key_, member, help_) { .key = key_, .type = CONFIG_NODE, .offset = offsetof(policy_yaml, member), .help = help_ }
static const config_field policy_fields[] = {
    { .key = "name", .type = CONFIG_STR, .offset = offsetof(policy_yaml, name), .required = true, .help = "Letters, digits, _ - and . only; unique." },
    { .key = "description", .type = CONFIG_STR, .offset = offsetof(policy_yaml, description), .help = "For readers." },
    NODE("trigger", trigger, "What sets it off."), NODE("when", when, "Asked right before acting; must answer."),
    NODE("mode", mode, "suggest, approve or auto."), NODE("do", steps, "Actions, one after another."),
    NODE("limits", limits, "Cool-down, attempts an hour, targets at a time."), NODE("verify", verify, "What counts as proof."),
    { .key = "retries", .type = CONFIG_INT, .offset = offsetof(policy_yaml, retries), .preset = "2", .min = 0, .max = 20, .help = "Further attempts after a failed one." },
    NODE("otherwise", otherwise, "When all attempts failed or a limit is used up."),
};

static bool name_ok(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        if (!ok)
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

err_kind policy_parse(const yaml_doc *doc, const yaml_node *n, arena *a, policy *ret, err *e)
{
    policy_yaml y = { 0 };
    err_kind k = config_bind(doc, n, policy_fields, COUNT_OF(policy_fields), &y, a, e);

    if (k)
        return k;
    *ret = (policy){ .name = y.name, .retries = y.retries };
    if (!name_ok(y.name)) {
        yaml_error(doc, yaml_get(n, "name"), e, "\"%" STR_FMT "\" cannot be a policy's name", STR_ARG(y.name));
        return err_hint(e, "Use up to 64 letters, digits, _ - and . only.");
    }
    if (!y.trigger)
        return yaml_error(doc, n, e, "\"trigger\" is missing"), err_hint(e, "Write trigger: {cause: engine_dead}.");
    if (!y.steps)
        return yaml_error(doc, n, e, "\"do\" is missing"), err_hint(e, "Write do: [{restart: {}}].");
    if ((k = trigger_parse(doc, y.trigger, a, ret, e)) || (k = expr_parse(doc, y.when, a, &ret->when, e)) ||
        (k = policy_mode_parse(doc, y.mode, true, &ret->mode, &ret->approve, e)) || (k = steps_parse(doc, y.steps, a, ret, e)) ||
        (k = config_bind(doc, y.limits, limits_fields, COUNT_OF(limits_fields), ret, a, e)) ||
        (k = verify_parse(doc, y.verify, a, ret, e)))
        return k;
    return otherwise_parse(doc, y.otherwise, a, ret, e);
}

static err_kind add_policy(const yaml_doc *doc, const yaml_node *n, heal_config *c, err *e)
{
    policy p;
    err_kind k = policy_parse(doc, n, &c->arena, &p, e);
    if (k)
        return k;
    if (heal_config_find(c, p.name))
        return yaml_error(doc, n, e, "there are two policies \"%" STR_FMT "\"", STR_ARG(p.name));
    if (c->policy_count == POLICY_MAX)
        return yaml_error(doc, n, e, "more than %d policies", POLICY_MAX);
    if ((c->policy_count & (c->policy_count - 1)) == 0) {      /* 0, 1, 2, 4, 8 …: the arena keeps the old array, which is small */
        policy *more = arena_array(&c->arena, policy, MAX(2 * c->policy_count, 1));
        if (!more)
            return err_nomem(e);
        if (c->policy_count)
            memcpy(more, c->policies, c->policy_count * sizeof *more);
        c->policies = more;
    }
    c->policies[c->policy_count++] = p;
    return OK;
}

typedef struct file_yaml { const yaml_node *policies; } file_yaml;
static const config_field file_fields[] = { { .key = "policies", .type = CONFIG_NODE, .offset = offsetof(file_yaml, policies), .required = true, .help = "A list of policies." } };

err_kind policy_file_parse(const yaml_doc *doc, heal_config *c, err *e)
{
    const yaml_node *list = doc->root;
    file_yaml f = { 0 };
    err_kind k = OK;

    if (list->kind == YAML_MAPPING && yaml_get(list, "name"))
        return add_policy(doc, list, c, e);
    if (list->kind == YAML_MAPPING) {
        if ((k = config_bind(doc, list, file_fields, COUNT_OF(file_fields), &f, &c->arena, e)))
            return k;
        list = f.policies;
    }
    if (!list || list->kind != YAML_SEQUENCE || list->len == 0) {
        yaml_error(doc, doc->root, e, "the file holds no policies");
        return err_hint(e, "Write one policy, a list of them, or policies: [...].");
    }
    for (size_t i = 0; k == OK && i < list->len; i++)
        k = add_policy(doc, list->items[i], c, e);
    return k;
}
