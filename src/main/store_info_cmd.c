/* main/store_info_cmd.c - `galen store info|verify|repair`. */
#include "main/store_cmd.h"
#include "base/file.h"
#include "base/json.h"
#include "store/verify.h"
#include <stdio.h>

#define INFO_MAX_BYTES (64u << 20)

typedef struct info_options { const char *data; bool json; } info_options;

static int no_arguments(const verb *v, int argc, char **argv, info_options *o)
{
    char **args;
    int n, code = options_parse(v, argc, argv, o, &args, &n);
    if (code < 0 && n > 0) {
        fprintf(stderr, "galen: `galen %s` takes no arguments\nHint: Name galen's data folder with --data DIR.\n", v->name);
        return EXIT_USAGE;
    }
    return code;
}

/* ---- info ---- */

static void put_time(json_writer *w, const char *key, int64_t t_ms)
{
    char text[CLOCK_ISO_MAX];
    clock_format_iso(text, t_ms);
    json_put_cstr(w, key, text);
}

static void info_json(const store_stats *st, const store_block *blocks, size_t n)
{
    AUTO(buf_done) buf out = BUF_INIT(INFO_MAX_BYTES);
    json_writer w = json_writer_to(&out);
    uint64_t samples = 0;
    json_begin(&w, '{');
    json_key(&w, "blocks");
    json_begin(&w, '[');
    for (size_t i = 0; i < n; i++) {
        const store_block *b = &blocks[i];
        samples += b->samples;
        json_begin(&w, '{');
        json_put_str(&w, "path", b->path);
        put_time(&w, "from", b->min_t_ms);
        put_time(&w, "to", b->max_t_ms);
        json_put_i64(&w, "series", (int64_t)b->series);
        json_put_i64(&w, "samples", (int64_t)b->samples);
        json_put_i64(&w, "bytes", (int64_t)b->bytes);
        json_put_i64(&w, "deleted_ranges", (int64_t)b->deleted);
        json_end(&w, '}');
    }
    json_end(&w, ']');
    json_put_i64(&w, "block_samples", (int64_t)samples);
    json_put_i64(&w, "block_bytes", (int64_t)st->block_bytes);
    json_put_i64(&w, "head_series", (int64_t)st->head_series);
    json_put_i64(&w, "head_samples", (int64_t)st->head_samples);
    json_put_i64(&w, "log_segments", (int64_t)st->wal_segments);
    json_put_i64(&w, "log_bytes", (int64_t)st->wal_bytes);
    if (st->min_t_ms <= st->max_t_ms) {
        put_time(&w, "from", st->min_t_ms);
        put_time(&w, "to", st->max_t_ms);
    }
    json_end(&w, '}');
    printf("%s\n", buf_cstr(&out));
}

static void print_size(const char *what, uint64_t bytes, uint64_t samples)
{
    printf("%-8s %12" PRIu64 " bytes", what, bytes);
    if (samples)
        printf("  %14" PRIu64 " samples  %.2f bytes a sample", samples, (double)bytes / (double)samples);
}

static void info_text(const store_stats *st, const store_block *blocks, size_t n)
{
    char from[CLOCK_ISO_MAX], to[CLOCK_ISO_MAX];
    uint64_t samples = 0;
    for (size_t i = 0; i < n; i++)
        samples += blocks[i].samples;
    if (st->min_t_ms <= st->max_t_ms) {
        clock_format_iso(from, st->min_t_ms);
        clock_format_iso(to, st->max_t_ms);
        printf("from %s to %s\n", from, to);
    }
    print_size("blocks", st->block_bytes, samples);
    printf("  in %zu files\n", n);
    print_size("log", st->wal_bytes, st->head_samples);
    printf("  in %" PRIu64 " segments\nhead     %12" PRIu64 " series\n", st->wal_segments, st->head_series);
    if (n)
        printf("\n%-10s %-24s %-24s %10s %12s %12s %8s\n", "block", "from", "to", "series", "samples", "bytes", "deleted");
    for (size_t i = 0; i < n; i++) {
        const store_block *b = &blocks[i];
        clock_format_iso(from, b->min_t_ms);
        clock_format_iso(to, b->max_t_ms);
        printf("%08" PRIu32 "   %-24s %-24s %10" PRIu64 " %12" PRIu64 " %12" PRIu64 " %8" PRIu64 "\n", b->number, from, to, b->series, b->samples, b->bytes, b->deleted);
    }
}

static int run_info(int argc, char **argv)
{
    info_options o = { .data = "./galen-data" };
    AUTO(arena_done) arena a = ARENA_INIT(INFO_MAX_BYTES);
    store *s;
    store_block *blocks;
    size_t n;
    err e = { 0 };
    int code = no_arguments(&verb_store_info, argc, argv, &o);
    if (code >= 0 || (code = store_cmd_open(o.data, false, &s)))
        return code;
    if (store_blocks(s, &a, &blocks, &n, &e))
        return err_print(&e), store_cmd_close(s, EXIT_FAILED);
    store_stats st = store_stats_get(s);
    if (o.json)
        info_json(&st, blocks, n);
    else
        info_text(&st, blocks, n);
    return store_cmd_close(s, EXIT_DONE);
}

/* ---- verify and repair ---- */

static void tell(void *ctx, const char *path, const char *what, bool damage)
{
    bool json = *(const bool *)ctx;
    fprintf(json ? stderr : stdout, "%s  %s: %s\n", damage ? "DAMAGED" : "note   ", path, what);
}

static void verify_json(const verify_report *r)
{
    printf("{\"ok\":%s,\"blocks\":%" PRIu64 ",\"series\":%" PRIu64 ",\"pages\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"log_files\":%" PRIu64
           ",\"log_records\":%" PRIu64 ",\"damaged_files\":%" PRIu64 ",\"damaged_pages\":%" PRIu64 "}\n",
           r->damaged_files ? "false" : "true", r->blocks, r->series, r->pages, r->samples, r->log_files, r->log_records, r->damaged_files, r->damaged_pages);
}

static int run_verify(int argc, char **argv)
{
    info_options o = { .data = "./galen-data" };
    char dir[FILE_PATH_MAX];
    verify_report r = { 0 };
    err e = { 0 };
    int code = no_arguments(&verb_store_verify, argc, argv, &o);
    if (code >= 0)
        return code;
    if (file_join(dir, o.data, "store", &e) || store_verify(dir, tell, &o.json, &r, &e)) {
        if (e.kind == ERR_NOT_FOUND)
            err_hint(&e, "Name galen's data folder with --data DIR.");
        return err_print(&e), EXIT_FAILED;
    }
    if (o.json)
        verify_json(&r);
    else
        printf("%s: read %" PRIu64 " samples in %" PRIu64 " pages of %" PRIu64 " blocks, %" PRIu64 " records in %" PRIu64 " files of the log\n",
               r.damaged_files ? "NOT intact" : "intact", r.samples, r.pages, r.blocks, r.log_records, r.log_files);
    if (r.damaged_files && !o.json)
        printf("Stop galen and run `galen store repair` to keep what can be read.\n");
    return r.damaged_files ? EXIT_FAILED : EXIT_DONE;
}

static int run_repair(int argc, char **argv)
{
    info_options o = { .data = "./galen-data" };
    char dir[FILE_PATH_MAX];
    repair_report r = { 0 };
    store *s;
    err e = { 0 };
    int code = no_arguments(&verb_store_repair, argc, argv, &o);
    if (code >= 0)
        return code;
    if (file_join(dir, o.data, "store", &e) || store_repair(dir, tell, &o.json, &r, &e))
        return err_print(&e), EXIT_FAILED;
    code = store_cmd_open(o.data, true, &s); /* cuts a damaged log */
    if (code)
        return code;
    if (o.json)
        printf("{\"rewritten\":%" PRIu64 ",\"set_aside\":%" PRIu64 ",\"lost_pages\":%" PRIu64 ",\"lost_samples\":%" PRIu64 "}\n",
               r.rewritten, r.set_aside, r.lost_pages, r.lost_samples);
    else if (r.set_aside == 0)
        printf("no block is damaged\n");
    else
        printf("set %" PRIu64 " damaged files aside (*.damaged), wrote %" PRIu64 " of them anew; lost %" PRIu64 " samples that can be counted, in %" PRIu64 " pages\n",
               r.set_aside, r.rewritten, r.lost_samples, r.lost_pages);
    return store_cmd_close(s, r.lost_pages || r.set_aside > r.rewritten ? EXIT_PARTLY : EXIT_DONE);
}

static const option_row options[] = {
    { "data", OPTION_TEXT, offsetof(info_options, data), "DIR", "galen's data folder (default ./galen-data)" },
    { "json", OPTION_SWITCH, offsetof(info_options, json), NULL, "print JSON" },
};
const verb verb_store_info = {
    .name = "store info", .summary = "Blocks, log, head: what is there and what it takes.", .usage = "galen store info [flags]",
    .more = "Works beside a running galen.\n", .options = options, .option_count = COUNT_OF(options), .run = run_info,
};
const verb verb_store_verify = {
    .name = "store verify", .summary = "Read every byte: checksums, order, samples, index.", .usage = "galen store verify [flags]",
    .more = "Works beside a running galen. Exit code 1 when something is damaged; each damaged file is named.\n",
    .options = options, .option_count = COUNT_OF(options), .run = run_verify,
};
const verb verb_store_repair = {
    .name = "store repair", .summary = "Keep what can be read of damaged files, set the rest aside.", .usage = "galen store repair [flags]",
    .more = "galen must not run on this data. Nothing is thrown away: a damaged block stays beside the new one as NAME.damaged, and a log\n"
            "that is damaged is cut where it cannot be read. Exit code 3 when samples were lost.\n",
    .options = options, .option_count = COUNT_OF(options), .run = run_repair,
};
