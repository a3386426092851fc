/* main/store_delete_cmd.c - `galen store delete|clean`, offline or through a running galen. */
#include "main/store_cmd.h"
#include "base/file.h"
#include <curl/curl.h>
#include <stdio.h>

#define ANSWER_MAX_BYTES (1u << 20)
#define ASK_TIMEOUT_S 600L

typedef struct delete_options { const char *data, *from, *to, *url; } delete_options;

/* ---- a running galen: its API, which is Prometheus's ---- */

static size_t keep(char *bytes, size_t size, size_t n, void *to) { return buf_append_bytes(to, bytes, size * n) ? 0 : size * n; }

static int tell_answer(CURL *c, const char *url, CURLcode got, buf *answer)
{
    long status = 0;
    if (got != CURLE_OK) {
        fprintf(stderr, "galen: could not ask \"%s\": %s\nHint: Is galen running there?\n", url, curl_easy_strerror(got));
        return EXIT_FAILED;
    }
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (answer->len)
        fprintf(status / 100 == 2 ? stdout : stderr, "%s\n", buf_cstr(answer));
    if (status / 100 == 2)
        return EXIT_DONE;
    fprintf(stderr, "galen: \"%s\" answered with status %ld\n", url, status);
    return EXIT_FAILED;
}

static int post(const char *base, const char *path, const char *form)
{
    AUTO(buf_done) buf answer = BUF_INIT(ANSWER_MAX_BYTES), url = BUF_INIT(FILE_PATH_MAX);
    CURL *c = curl_easy_init();
    size_t len = strlen(base);
    buf_printf(&url, "%.*s%s", (int)(len && base[len - 1] == '/' ? len - 1 : len), base, path);
    if (!c || buf_failed(&url)) {
        fprintf(stderr, "galen: --url is too long\n");
        curl_easy_cleanup(c);
        return EXIT_FAILED;
    }
    curl_easy_setopt(c, CURLOPT_URL, buf_cstr(&url));
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_TIMEOUT, ASK_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, form);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &answer);
    int code = tell_answer(c, buf_cstr(&url), curl_easy_perform(c), &answer);
    curl_easy_cleanup(c);
    return code;
}

static void put_field(buf *form, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(NULL, value, 0);
    if (!escaped)
        form->failed = ERR_NOMEM;
    else
        buf_printf(form, "%s%s=%s", form->len ? "&" : "", name, escaped);
    curl_free(escaped);
}

static int delete_there(const delete_options *o, char **selectors, int n)
{
    AUTO(buf_done) buf form = BUF_INIT(ANSWER_MAX_BYTES);
    for (int i = 0; i < n; i++)
        put_field(&form, "match[]", selectors[i]);
    if (o->from)
        put_field(&form, "start", o->from);
    if (o->to)
        put_field(&form, "end", o->to);
    if (buf_failed(&form)) {
        fprintf(stderr, "galen: the selectors are too long\n");
        return EXIT_FAILED;
    }
    return post(o->url, "/api/v1/admin/tsdb/delete_series", buf_cstr(&form));
}

/* ---- a folder ---- */

/* A slip of the pen in --data makes no new store. */
static int open_there(const char *data, store **ret)
{
    char dir[FILE_PATH_MAX];
    err e = { 0 };
    if (!file_join(dir, data, "store", &e) && file_exists(dir))
        return store_cmd_open(data, true, ret);
    if (!e.kind) {
        err_set(&e, ERR_NOT_FOUND, "there is no store \"%s\"", dir);
        err_hint(&e, "Name galen's data folder with --data DIR.");
    }
    return err_print(&e), EXIT_FAILED;
}

static int delete_here(const delete_options *o, const store_cmd_sets *sets, int64_t from_ms, int64_t to_ms)
{
    delete_receipt told;
    store *s;
    err e = { 0 };
    int code = open_there(o->data, &s);
    if (code)
        return code;
    if (store_delete(s, sets->sets.at, sets->sets.len, from_ms, to_ms, &told, &e))
        return err_print(&e), store_cmd_close(s, EXIT_FAILED);
    printf("deleted %" PRIu64 " samples of %" PRIu64 " series in %" PRIu64 " blocks; `galen store clean` gives their room back at once\n",
           told.samples, told.series, told.blocks);
    return store_cmd_close(s, EXIT_DONE);
}

static int run_delete(int argc, char **argv)
{
    delete_options o = { .data = "./galen-data" };
    char **args;
    int64_t from_ms, to_ms;
    store_cmd_sets sets;
    int n, code = options_parse(&verb_store_delete, argc, argv, &o, &args, &n);
    if (code >= 0)
        return code;
    if (n == 0 || !options_time(o.from, -STORE_CMD_ALWAYS_MS, &from_ms) || !options_time(o.to, STORE_CMD_ALWAYS_MS, &to_ms)) {
        fprintf(stderr, "galen: %s\nHint: `galen store delete --help` shows examples.\n",
                n == 0 ? "delete needs a selector: nobody deletes everything by a slip" : "a time is neither RFC 3339 nor Unix seconds");
        return EXIT_USAGE;
    }
    if (from_ms > to_ms) {
        fprintf(stderr, "galen: --to lies before --from\n");
        return EXIT_USAGE;
    }
    if (!store_cmd_parse_sets(args, n, &sets))
        return EXIT_USAGE;
    code = o.url ? delete_there(&o, args, n) : delete_here(&o, &sets, from_ms, to_ms);
    store_cmd_sets_done(&sets);
    return code;
}

static int run_clean(int argc, char **argv)
{
    delete_options o = { .data = "./galen-data" };
    char **args;
    store *s;
    err e = { 0 };
    int n, code = options_parse(&verb_store_clean, argc, argv, &o, &args, &n);
    if (code >= 0)
        return code;
    if (n > 0) {
        fprintf(stderr, "galen: `galen store clean` takes no arguments\nHint: Name galen's data folder with --data DIR.\n");
        return EXIT_USAGE;
    }
    if (o.url)
        return post(o.url, "/api/v1/admin/tsdb/clean_tombstones", "");
    if ((code = open_there(o.data, &s)))
        return code;
    uint64_t before = store_stats_get(s).block_bytes;
    if (store_clean(s, &e))
        return err_print(&e), store_cmd_close(s, EXIT_FAILED);
    uint64_t after = store_stats_get(s).block_bytes;
    printf("blocks took %" PRIu64 " bytes, take %" PRIu64 " now\n", before, after);
    return store_cmd_close(s, EXIT_DONE);
}

static const option_row delete_rows[] = {
    { "data", OPTION_TEXT, offsetof(delete_options, data), "DIR", "galen's data folder (default ./galen-data)" },
    { "url", OPTION_TEXT, offsetof(delete_options, url), "URL", "ask the galen that runs there instead, e.g. http://127.0.0.1:9600" },
    { "from", OPTION_TEXT, offsetof(delete_options, from), "TIME", "samples from here, RFC 3339 or Unix seconds (default all)" },
    { "to", OPTION_TEXT, offsetof(delete_options, to), "TIME", "… to here, included" },
};
const verb verb_store_delete = {
    .name = "store delete", .summary = "Delete samples by selector and time; prints the receipt.", .usage = "galen store delete [flags] SELECTOR...",
    .more = "Deleted samples do not show any more when this returns, and that is on disk by then; their bytes go when blocks are merged, or\n"
            "with `galen store clean`. Without --url galen must not run on this data.\n\nExamples:\n"
            "  galen store delete --from 2026-11-20T00:00:00Z --to 2026-11-21T00:00:00Z 'up{job=\"test\"}'\n"
            "  galen store delete --url http://127.0.0.1:9600 '{tenant=\"gone\"}'\n",
    .options = delete_rows, .option_count = COUNT_OF(delete_rows), .run = run_delete,
};
const verb verb_store_clean = {
    .name = "store clean", .summary = "Rewrite blocks without the samples that were deleted.", .usage = "galen store clean [flags]",
    .more = "Without --url galen must not run on this data.\n", .options = delete_rows, .option_count = 2, .run = run_clean,
};
