/* main/query_cmd.c - `galen query EXPR`: PromQL over a data folder, read-only, also while galen runs. */
#include "main/options.h"
#include "base/file.h"
#include "query/query.h"
#include <stdio.h>

typedef struct query_cmd_options {
    const char *data, *time, *start, *end, *features;
    int64_t step_ms;
    bool json, explain;
} query_cmd_options;

unsigned features_parse(const char *list)
{
    unsigned bits = 0;
    str rest = str_from(list), name;
    AUTO(buf_done) buf known = BUF_INIT(1000);
    promql_feature_list(&known);
    while (str_split(&rest, ',', &name)) {
        unsigned bit = promql_feature(str_trim(name));
        if (!bit && !str_is(str_trim(name), FEATURE_CREATED_ZEROS))
            log_warn("unknown feature, going on without it", KV_STR("feature", name), KV_STR("known", buf_str(&known)));
        bits |= bit;
    }
    return bits;
}

static void print_cost(const query_result *r, bool json)
{
    AUTO(buf_done) buf text = BUF_INIT(64u << 20);
    if (!json) {
        query_cost_print(r, stdout);
        return;
    }
    query_cost_json(r, &text);
    puts(buf_cstr(&text));
}

static int ask(store *s, const query_cmd_options *o, const char *expr, int64_t at, int64_t from, int64_t to)
{
    err e = { 0 };
    query_result r = { 0 };
    query_engine *q = query_engine_new(s, &(query_options){ .features = features_parse(o->features) });
    if (!q)
        return EXIT_FAILED;
    query_request ask_for = { .expr = str_from(expr), .from_ms = o->start ? from : at, .to_ms = o->start ? to : at,
                              .step_ms = !o->start ? 0 : o->step_ms ? o->step_ms : 15000, .want_cost = o->explain };
    err_kind k = query_run(q, &ask_for, &r, &e);
    int code = EXIT_DONE;
    if (k) {
        err_print(&e);
        code = EXIT_FAILED;
    } else {
        if (o->explain)
            print_cost(&r, o->json);
        else
            query_print(&r, stdout, o->json);
        query_result_done(&r);
    }
    query_engine_free(q);
    return code;
}

static int run(int argc, char **argv)
{
    query_cmd_options o = { .data = "./galen-data" };
    char **args, dir[FILE_PATH_MAX];
    int n, code = options_parse(&verb_query, argc, argv, &o, &args, &n);
    if (code >= 0)
        return code;
    int64_t now = clock_now_ms(), at, from, to;
    if (n != 1 || !options_time(o.time, now, &at) || !options_time(o.start, now, &from) || !options_time(o.end, now, &to)) {
        fprintf(stderr, "galen: %s\nHint: For example: galen query 'rate(node_cpu_seconds_total[1m])'\n",
                n != 1 ? "query needs one expression" : "a time is neither RFC 3339 nor Unix seconds");
        return EXIT_USAGE;
    }
    err e = { 0 };
    store *s = NULL;
    store_recovery recovery;
    if (file_join(dir, o.data, "store", &e) || store_open(&(store_options){ .dir = dir, .read_only = true }, &s, &recovery, &e)) {
        err_hint(&e, "Name galen's data folder with --data DIR.");
        return err_print(&e), EXIT_FAILED;
    }
    if (recovery.note[0])
        fprintf(stderr, "galen: %s\n", recovery.note);
    code = ask(s, &o, args[0], at, from, to);
    return store_close(s, &e) ? EXIT_FAILED : code;
}

static const option_row options[] = {
    { "data", OPTION_TEXT, offsetof(query_cmd_options, data), "DIR", "galen's data folder (default ./galen-data)" },
    { "enable-feature", OPTION_TEXT, offsetof(query_cmd_options, features), "LIST", "experimental PromQL, named as in Prometheus" },
    { "time", OPTION_TEXT, offsetof(query_cmd_options, time), "TIME", "evaluate at this time, RFC 3339 or Unix seconds (default now)" },
    { "start", OPTION_TEXT, offsetof(query_cmd_options, start), "TIME", "a range query from here" },
    { "end", OPTION_TEXT, offsetof(query_cmd_options, end), "TIME", "… to here (default now)" },
    { "step", OPTION_DURATION, offsetof(query_cmd_options, step_ms), "DURATION", "… each step (default 15s)" },
    { "explain", OPTION_SWITCH, offsetof(query_cmd_options, explain), NULL, "instead of the result: what was read and what each part took" },
    { "json", OPTION_SWITCH, offsetof(query_cmd_options, json), NULL, "print the API's JSON" },
};
const verb verb_query = {
    "query", "Ask in PromQL, offline.", "galen query [flags] EXPR",
    "Examples:\n"
    "  galen query 'up'\n"
    "  galen query --start 2026-11-21T08:00:00Z --step 1m 'rate(llm_generation_tokens_total[5m])'\n"
    "  galen query --explain --start 2026-11-21T08:00:00Z 'sum by (job) (rate(llm_generation_tokens_total[5m]))'\n",
    options, COUNT_OF(options), run,
};
