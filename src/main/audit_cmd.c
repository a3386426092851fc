/* main/audit_cmd.c - `galen audit list|verify`: read the record offline, also while galen runs. */
#include "main/options.h"
#include "audit/audit.h"
#include "base/file.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

typedef struct audit_options_cmd {
    const char *data, *kind, *subject, *incident, *head;
    int64_t since_ms, limit;
    bool json;
    bool found;   /* a record was printed */
} audit_options_cmd;

static bool print_record(void *ctx, const audit_record *r)
{
    audit_options_cmd *o = ctx;
    o->found = true;
    if (o->json) {
        AUTO(buf_done) buf line = BUF_INIT(2 * AUDIT_MAX_DATA + 4096);
        json_writer w = json_writer_to(&line);
        audit_record_json(&w, r);
        printf("%s\n", buf_cstr(&line));
        return true;
    }
    char time[CLOCK_ISO_MAX];
    clock_format_iso(time, r->t_ms);
    printf("%6" PRIu64 "  %s  %-28" STR_FMT "  %" STR_FMT "%s%" STR_FMT "\n", r->seq, time, STR_ARG(r->kind), STR_ARG(r->subject),
           r->subject.len ? "  " : "", STR_ARG(r->message));
    return true;
}

static int list(const char *dir, audit_options_cmd *o)
{
    audit_filter f = { .kind_prefix = str_from(o->kind), .subject = str_from(o->subject), .incident = str_from(o->incident),
                       .limit = (size_t)o->limit, .newest = true,
                       .from_ms = o->since_ms ? clock_now_ms() - o->since_ms : 0 };
    err e = { 0 };
    if (audit_list(dir, &f, print_record, o, &e))
        return err_print(&e), EXIT_FAILED;
    if (!o->found)
        fprintf(stderr, "no records match\n");
    return EXIT_DONE;
}

static int verify(const char *dir, const audit_options_cmd *o)
{
    audit_report r = { 0 };
    err e = { 0 };
    if (audit_verify(dir, o->head ? o->head : "", &r, &e))
        return err_print(&e), EXIT_FAILED;
    printf("%s: %" PRIu64 " records, %" PRIu64 "..%" PRIu64 "\nhead %s\n", r.ok ? "intact" : "NOT intact", r.records,
           r.first_seq, r.last_seq, r.head_hex);
    if (r.problem[0])
        printf("%s\n", r.problem);
    return r.ok ? EXIT_DONE : EXIT_FAILED;
}

/* "No records" about a folder that is not there, or not readable, would sound like a good answer. */
static err_kind check_folder(const char *dir, err *e)
{
    if (access(dir, R_OK | X_OK) == 0)
        return OK;
    err_sys(e, errno, "could not open the audit record \"%s\"", dir);
    return err_hint(e, "Name galen's data folder with --data DIR, as a user who may read it.");
}

static int run(int argc, char **argv)
{
    audit_options_cmd o = { .data = "./galen-data", .limit = 1000 };
    char **args, dir[FILE_PATH_MAX];
    int n, code = options_parse(&verb_audit, argc, argv, &o, &args, &n);
    err e = { 0 };
    if (code >= 0)
        return code;
    bool verifies = n == 1 && strcmp(args[0], "verify") == 0;
    if (!verifies && (n != 1 || strcmp(args[0], "list") != 0)) {
        fprintf(stderr, "galen: `galen audit` needs list or verify\nHint: `galen audit --help` explains both.\n");
        return EXIT_USAGE;
    }
    if (file_join(dir, o.data, "audit", &e) || check_folder(dir, &e))
        return err_print(&e), EXIT_FAILED;
    return verifies ? verify(dir, &o) : list(dir, &o);
}

static const option_row options[] = {
    { "data", OPTION_TEXT, offsetof(audit_options_cmd, data), "DIR", "galen's data folder (default ./galen-data)" },
    { "kind", OPTION_TEXT, offsetof(audit_options_cmd, kind), "PREFIX", "only records of this kind: heal., alert.firing …" },
    { "subject", OPTION_TEXT, offsetof(audit_options_cmd, subject), "ID", "only records about this: replica:chat/127.0.0.1:8000" },
    { "incident", OPTION_TEXT, offsetof(audit_options_cmd, incident), "ID", "only records of this incident" },
    { "since", OPTION_DURATION, offsetof(audit_options_cmd, since_ms), "DURATION", "only the last 1h, 7d …" },
    { "limit", OPTION_COUNT, offsetof(audit_options_cmd, limit), "N", "at most this many, the newest (default 1000)" },
    { "json", OPTION_SWITCH, offsetof(audit_options_cmd, json), NULL, "one JSON object a line" },
    { "head", OPTION_TEXT, offsetof(audit_options_cmd, head), "HASH", "verify: the head hash written down earlier; finds a cut tail" },
};
const verb verb_audit = {
    "audit", "List or verify the record of what happened and who decided it.", "galen audit list|verify [flags]",
    "Examples:\n"
    "  galen audit list --kind heal. --since 1d\n"
    "  galen audit verify            prints the head hash: keep it elsewhere, and give it back with --head\n",
    options, COUNT_OF(options), run,
};
