/* main/store_import_cmd.c - `galen store import PATH…`: samples of any age from files of others. */
#include "main/store_cmd.h"
#include "base/file.h"
#include "store/import.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct import_options { const char *data, *format; bool json, dry_run; } import_options;
typedef enum import_format { FORMAT_AUTO, FORMAT_OPENMETRICS, FORMAT_PROMETHEUS, FORMAT_CSV, FORMAT_TSDB } import_format;
static const char *const formats[] = { "auto", "openmetrics", "prometheus", "csv", "tsdb" };

static bool find_format(const char *name, import_format *ret)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (strcmp(formats[i], name) == 0)
            return *ret = (import_format)i, true;
    return false;
}

/* ---- reading ---- */

/* Standard input cannot be mapped: it goes through a file without a name. */
static err_kind spool(int *ret_fd, err *e)
{
    FILE *f = tmpfile();
    int fd = f ? dup(fileno(f)) : -1;
    if (f)
        fclose(f);
    if (fd < 0)
        return err_sys(e, errno, "could not create a temporary file");
    static char bytes[1u << 16];
    ssize_t n;
    err_kind k = OK;
    while (!k && (n = read(STDIN_FILENO, bytes, sizeof bytes)) != 0)
        k = n < 0 ? err_sys(e, errno, "could not read standard input") : file_write_all(fd, bytes, (size_t)n, "temporary file", e);
    if (k)
        close(fd);
    else
        *ret_fd = fd;
    return k;
}

static err_kind map_text(const char *path, str *ret, err *e)
{
    int fd = -1;
    struct stat st;
    err_kind k = OK;
    if (strcmp(path, "-") == 0)
        k = spool(&fd, e);
    else if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        k = err_sys(e, errno, "could not open \"%s\"", path);
    if (k)
        return k;
    if (fstat(fd, &st) != 0)
        k = err_sys(e, errno, "could not read \"%s\"", path);
    *ret = STR_EMPTY;
    if (!k && st.st_size > 0) {
        void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED)
            k = err_sys(e, errno, "could not map \"%s\"", path);
        else
            *ret = str_of(at, (size_t)st.st_size);
    }
    close(fd);
    return k;
}

/* OpenMetrics ends with "# EOF"; else CSV begins with a line without blanks or braces. */
static import_format guess(const char *path, str text)
{
    if (str_ends(str_from(path), STR(".csv")))
        return FORMAT_CSV;
    if (str_ends(str_trim(str_sub(text, text.len > 16 ? text.len - 16 : 0, 16)), STR("# EOF")))
        return FORMAT_OPENMETRICS;
    ptrdiff_t end = str_find_char(text, '\n');
    str first = str_sub(text, 0, end < 0 ? text.len : (size_t)end);
    return str_find_char(first, ',') > 0 && str_find_char(first, ' ') < 0 ? FORMAT_CSV : FORMAT_PROMETHEUS;
}

static err_kind import_text(importer *to, const char *path, import_format format, err *e)
{
    str text;
    err_kind k = map_text(path, &text, e);
    if (k)
        return k;
    if (format == FORMAT_AUTO)
        format = guess(path, text);
    k = format == FORMAT_CSV ? import_csv(to, text, e) : import_exposition(to, text, format == FORMAT_OPENMETRICS, e);
    if (text.len)
        munmap((void *)text.ptr, text.len);
    return k == ERR_PARSE ? err_in_file(e, path) : k;
}

static err_kind import_path(importer *to, const char *path, import_format format, err *e)
{
    struct stat st;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (folder != (format == FORMAT_TSDB) && format != FORMAT_AUTO)
        return err_set(e, ERR_INVALID, folder ? "\"%s\" is a folder" : "\"%s\" is no folder: a block or data directory of Prometheus is one", path);
    if (!folder)
        return import_text(to, path, format, e);
    bool log;
    err_kind k = import_prometheus(to, path, &log, e);
    if (!k && log)
        fprintf(stderr, "galen: \"%s\" has a log whose newest samples are in no block yet\n"
                        "Hint: Take a snapshot of the running Prometheus (POST /api/v1/admin/tsdb/snapshot) and import that.\n", path);
    return k;
}

/* ---- telling ---- */

static void tell(const import_receipt *r, bool json)
{
    if (json) {
        printf("{\"series\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"histograms\":%" PRIu64 ",\"blocks\":%" PRIu64 ",\"left_out\":%" PRIu64 "}\n",
               r->series, r->samples, r->histograms, r->blocks, r->left_out);
        return;
    }
    char from[CLOCK_ISO_MAX], to[CLOCK_ISO_MAX];
    printf("imported %" PRIu64 " samples and %" PRIu64 " histograms of %" PRIu64 " series into %" PRIu64 " blocks", r->samples, r->histograms, r->series, r->blocks);
    if (r->min_t_ms <= r->max_t_ms) {
        clock_format_iso(from, r->min_t_ms);
        clock_format_iso(to, r->max_t_ms);
        printf(", %s to %s", from, to);
    }
    printf("\n");
    if (r->max_t_ms < clock_now_ms() - 15 * INT64_C(86400000) && r->samples)
        fprintf(stderr, "Hint: Start galen with a --retention that reaches back so far, or it removes these samples again.\n");
}

static int import_all(store *s, char **paths, int n, import_format format, bool json)
{
    AUTO(importer_freep) importer *to = NULL;
    import_receipt told = { 0 };
    err e = { 0 }, later = { 0 };
    err_kind k = importer_open(s, &to, &e);
    for (int i = 0; !k && i < n; i++)
        k = import_path(to, paths[i], format, &e);
    if (!to)
        return err_print(&e), EXIT_FAILED;
    if (importer_finish(to, &told, k ? &later : &e) && !k)
        k = e.kind;
    tell(&told, json);
    if (told.left_out)
        fprintf(stderr, "galen: left out %" PRIu64 " samples: %s\n", told.left_out, told.why);
    if (k)
        return err_print(&e), told.blocks ? EXIT_PARTLY : EXIT_FAILED;
    return told.left_out ? EXIT_PARTLY : EXIT_DONE;
}

static int run(int argc, char **argv)
{
    import_options o = { .data = "./galen-data", .format = "auto" };
    char **args;
    int n, code = options_parse(&verb_store_import, argc, argv, &o, &args, &n);
    import_format format;
    store *s;
    if (code >= 0)
        return code;
    if (n == 0 || !find_format(o.format, &format)) {
        fprintf(stderr, "galen: %s\nHint: `galen store import --help` shows examples.\n",
                n == 0 ? "import needs a file or folder" : "--format is auto, openmetrics, prometheus, csv or tsdb");
        return EXIT_USAGE;
    }
    if (o.dry_run)
        return import_all(NULL, args, n, format, o.json);
    code = store_cmd_open(o.data, true, &s);
    return code ? code : store_cmd_close(s, import_all(s, args, n, format, o.json));
}

static const option_row options[] = {
    { "data", OPTION_TEXT, offsetof(import_options, data), "DIR", "galen's data folder (default ./galen-data); made if it is not there" },
    { "format", OPTION_TEXT, offsetof(import_options, format), "FORMAT", "auto (default), openmetrics, prometheus, csv or tsdb" },
    { "dry-run", OPTION_SWITCH, offsetof(import_options, dry_run), NULL, "read, check and count; write nothing" },
    { "json", OPTION_SWITCH, offsetof(import_options, json), NULL, "print the receipt as JSON" },
};
const verb verb_store_import = {
    .name = "store import", .summary = "Take in OpenMetrics, Prometheus text, CSV, or Prometheus's own blocks.",
    .usage = "galen store import [flags] FILE|DIR|-...",
    .more = "galen must not run on this data. Samples may be of any age; they go straight into blocks. Where a series already has a\n"
            "sample at a time, the imported one counts.\n"
            "  CSV      with a header: timestamp,value,__name__,job,… (a sample a row) or timestamp,up{job=\"x\"},… (a series a column)\n"
            "  tsdb     a block of Prometheus, or its data directory: all blocks in it\n\nExamples:\n"
            "  galen store import --data ./galen-data /var/lib/prometheus/data\n"
            "  galen store import history.om more.csv\n"
            "  zcat old.om.gz | galen store import --format openmetrics -\n",
    .options = options, .option_count = COUNT_OF(options), .run = run,
};
