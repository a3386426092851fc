/* main/store_export_cmd.c - `galen store export [SELECTOR…]`: samples as text. */
#include "main/store_cmd.h"
#include "store/export.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

typedef struct export_options { const char *data, *from, *to, *format, *output; } export_options;

static const struct { const char *name; export_format format; } formats[] = {
    { "openmetrics", EXPORT_OPENMETRICS }, { "prometheus", EXPORT_PROMETHEUS }, { "csv", EXPORT_CSV },
};

static bool find_format(const char *name, export_format *ret)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return *ret = formats[i].format, true;
    return false;
}

static int write_to(store *s, const store_cmd_sets *sets, int64_t from_ms, int64_t to_ms, export_format format, int fd, const char *path)
{
    export_receipt told;
    err e = { 0 };
    err_kind k = store_export(s, sets->sets.at, sets->sets.len, from_ms, to_ms, format, fd, path, &told, &e);
    if (k)
        return err_print(&e), EXIT_FAILED;
    fprintf(stderr, "exported %" PRIu64 " samples of %" PRIu64 " series\n", told.samples, told.series);
    if (told.histograms == 0)
        return EXIT_DONE;
    fprintf(stderr, "galen: left out the native histograms of %" PRIu64 " series\nHint: Text cannot hold them; use `galen store snapshot`.\n", told.histograms);
    return EXIT_PARTLY;
}

static int to_output(store *s, const store_cmd_sets *sets, int64_t from_ms, int64_t to_ms, export_format format, const char *output)
{
    if (!output || strcmp(output, "-") == 0)
        return write_to(s, sets, from_ms, to_ms, format, STDOUT_FILENO, "standard output");
    err e = { 0 };
    int fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_sys(&e, errno, "could not create \"%s\"", output);
        return err_print(&e), EXIT_FAILED;
    }
    int code = write_to(s, sets, from_ms, to_ms, format, fd, output);
    if (close(fd) != 0 && code != EXIT_FAILED) {
        err_sys(&e, errno, "could not write \"%s\"", output);
        err_print(&e);
        code = EXIT_FAILED;
    }
    if (code == EXIT_FAILED)
        (void)unlink(output); /* half an export looks like a whole one, and would be in the way of the next */
    return code;
}

static int run(int argc, char **argv)
{
    export_options o = { .data = "./galen-data", .format = "openmetrics" };
    char **args;
    int n, code = options_parse(&verb_store_export, argc, argv, &o, &args, &n);
    int64_t from_ms, to_ms;
    export_format format;
    store_cmd_sets sets;
    store *s;
    if (code >= 0)
        return code;
    if (!options_time(o.from, -STORE_CMD_ALWAYS_MS, &from_ms) || !options_time(o.to, STORE_CMD_ALWAYS_MS, &to_ms) || !find_format(o.format, &format)) {
        fprintf(stderr, "galen: %s\nHint: `galen store export --help` shows examples.\n",
                find_format(o.format, &format) ? "a time is neither RFC 3339 nor Unix seconds" : "--format is openmetrics, prometheus or csv");
        return EXIT_USAGE;
    }
    if (!store_cmd_parse_sets(args, n, &sets))
        return EXIT_USAGE;
    code = store_cmd_open(o.data, false, &s);
    if (!code)
        code = store_cmd_close(s, to_output(s, &sets, from_ms, to_ms, format, o.output));
    store_cmd_sets_done(&sets);
    return code;
}

static const option_row options[] = {
    { "data", OPTION_TEXT, offsetof(export_options, data), "DIR", "galen's data folder (default ./galen-data)" },
    { "from", OPTION_TEXT, offsetof(export_options, from), "TIME", "samples from here, RFC 3339 or Unix seconds (default all)" },
    { "to", OPTION_TEXT, offsetof(export_options, to), "TIME", "… to here, included" },
    { "format", OPTION_TEXT, offsetof(export_options, format), "FORMAT", "openmetrics (default), prometheus or csv" },
    { "output", OPTION_TEXT, offsetof(export_options, output), "FILE", "write here instead of to standard output; must not exist" },
};
const verb verb_store_export = {
    .name = "store export", .summary = "Write samples as OpenMetrics, Prometheus text or CSV.", .usage = "galen store export [flags] [SELECTOR...]",
    .more = "Works beside a running galen. Stale markers are left out: text cannot say them. Times in CSV are Unix seconds.\n\nExamples:\n"
            "  galen store export --from 2026-11-21T00:00:00Z 'up{job=\"vllm\"}' > up.om\n"
            "  galen store export --format csv --output all.csv\n",
    .options = options, .option_count = COUNT_OF(options), .run = run,
};
