/* watch/scrape/scrape_targets.c - from the addresses of a job to targets with a URL and labels. */
#include "watch/scrape/scrape_config.h"
#include <stdio.h>

#define PARAM_PREFIX "__param_"

/* A default stands only where the target's group says nothing: that is how one address has many paths. */
static void put_default(labels_builder *b, str name, str value)
{
    if (!relabel_get(b, name).len)
        labels_put(b, name, value);
}

static void put_default_duration(labels_builder *b, const char *name, int64_t ms)
{
    char text[CLOCK_ISO_MAX];
    clock_format_duration(text, ms);
    put_default(b, str_from(name), str_from(text));
}

/* What relabelling gets to see (Prometheus: scrape/target.go, PopulateDiscoveredLabels). */
static void put_discovered(labels_builder *b, const scrape_job *j, const target_group *g, str address)
{
    for (size_t i = 0; i < g->labels.len; i++)
        labels_put(b, g->labels.at[i].key, g->labels.at[i].value);
    labels_put(b, STR("__address__"), address);
    put_default(b, STR("job"), j->name);
    put_default(b, STR("__metrics_path__"), j->metrics_path);
    put_default(b, STR("__scheme__"), j->scheme);
    put_default_duration(b, "__scrape_interval__", j->interval_ms);
    put_default_duration(b, "__scrape_timeout__", j->timeout_ms);
    for (size_t i = 0; i < j->param_count; i++) {
        str name = arena_printf(b->arena, PARAM_PREFIX "%" STR_FMT, STR_ARG(j->params[i].name));
        if (j->params[i].values.len)
            put_default(b, name, j->params[i].values.at[0]);
    }
}

static void put_escaped(buf *out, str s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c);
        if (plain && c) {
            buf_append_char(out, (char)c);
        } else {
            buf_append_char(out, '%');
            buf_append_char(out, hex[c >> 4]);
            buf_append_char(out, hex[c & 15]);
        }
    }
}

static void put_param(buf *url, str name, str value)
{
    buf_append_char(url, str_find_char(buf_str(url), '?') >= 0 ? '&' : '?');
    put_escaped(url, name);
    buf_append_char(url, '=');
    put_escaped(url, value);
}

static const param *job_param(const scrape_job *j, str name)
{
    for (size_t i = 0; i < j->param_count; i++) {
        if (str_eq(j->params[i].name, name))
            return &j->params[i];
    }
    return NULL;
}

/* The parameters of the job, the first value of each as its __param_ label says, and those that only a label names;
 * in the order of the labels. */
static void put_params(buf *url, const scrape_job *j, labels l)
{
    for (size_t i = 0; i < l.len; i++) {
        if (!str_starts(l.at[i].name, STR(PARAM_PREFIX)))
            continue;
        str name = str_skip(l.at[i].name, sizeof PARAM_PREFIX - 1);
        const param *p = job_param(j, name);
        put_param(url, name, l.at[i].value);
        for (size_t v = 1; p && v < p->values.len; v++)
            put_param(url, name, p->values.at[v]);
    }
}

static bool has_port(str address)
{
    ptrdiff_t bracket = str_find_char(address, ']');
    return str_find_char(str_skip(address, bracket >= 0 ? (size_t)bracket : 0), ':') >= 0;
}

static str make_url(const scrape_job *j, labels_builder *b)
{
    labels sorted = labels_finish(b);
    AUTO(buf_done) buf url = BUF_INIT(8192);
    str scheme = relabel_get(b, STR("__scheme__")), address = relabel_get(b, STR("__address__")),
        path = relabel_get(b, STR("__metrics_path__"));
    buf_printf(&url, "%" STR_FMT "://%" STR_FMT "%s%s%" STR_FMT, STR_ARG(scheme), STR_ARG(address),
               has_port(address)         ? ""
               : str_is(scheme, "https") ? ":443"
                                         : ":80",
               path.len && path.ptr[0] == '/' ? "" : "/", STR_ARG(path));
    put_params(&url, j, sorted);
    return buf_failed(&url) ? STR_EMPTY : arena_str(b->arena, buf_str(&url));
}

static err_kind check_final(const scrape_job *j, const labels_builder *b, err *e)
{
    str address = relabel_get(b, STR("__address__"));
    if (!address.len)
        return err_set(e, ERR_INVALID, "job \"%" STR_FMT "\" has a target without an address", STR_ARG(j->name));
    if (str_find_char(address, '/') >= 0)
        return err_set(e, ERR_INVALID, "\"%" STR_FMT "\" is not a target address", STR_ARG(address));
    return OK;
}

static void take_durations(const labels_builder *b, const scrape_job *j, target_spec *t)
{
    t->interval_ms = j->interval_ms;
    t->timeout_ms = j->timeout_ms;
    int64_t ms;
    if (clock_parse_duration(relabel_get(b, STR("__scrape_interval__")), &ms) && ms >= SCRAPE_MIN_INTERVAL_MS)
        t->interval_ms = ms;
    if (clock_parse_duration(relabel_get(b, STR("__scrape_timeout__")), &ms) && ms >= SCRAPE_MIN_INTERVAL_MS)
        t->timeout_ms = MIN(ms, MAX(t->interval_ms, j->timeout_ms)); /* a replica's may be longer: it skips a turn */
}

static err_kind keep_labels(labels_builder *b, arena *a, labels *ret, err *e)
{
    labels l = labels_finish(b);
    label *copy = l.len ? arena_dup(a, l.at, l.len * sizeof *l.at) : NULL;
    if (b->failed || !copy)
        return err_set(e, ERR_NOMEM, "could not keep the labels of a target");
    *ret = (labels){ copy, l.len };
    return OK;
}

static err_kind make_target(const scrape_job *j, const target_group *g, str address, arena *a, target_spec *t, err *e)
{
    labels_builder b;
    labels_start(&b, a);
    put_discovered(&b, j, g, address);
    if (keep_labels(&b, a, &t->discovered, e))
        return ERR_NOMEM;
    labels_start_from(&b, a, t->discovered);
    if (!relabel_apply(&j->relabel, &b)) {
        t->dropped = true;
        return b.failed ? err_nomem(e) : OK;
    }
    err_kind k = check_final(j, &b, e);
    if (k)
        return k;
    take_durations(&b, j, t);
    t->url = make_url(j, &b);
    if (!t->url.ptr)
        return err_nomem(e);
    if (!relabel_get(&b, STR("instance")).len)
        labels_put(&b, STR("instance"), relabel_get(&b, STR("__address__")));
    for (size_t i = b.len; i-- > 0;) {
        if (str_starts(b.at[i].name, STR("__")))
            labels_put(&b, b.at[i].name, STR_EMPTY);
    }
    return keep_labels(&b, a, &t->labels, e);
}

err_kind scrape_job_targets(const scrape_job *j, arena *a, target_spec **ret, size_t *ret_n, err *e)
{
    size_t total = 0, n = 0;
    for (size_t g = 0; g < j->group_count; g++)
        total += j->groups[g].targets.len;
    if (total > SCRAPE_MAX_TARGETS || (j->target_limit > 0 && total > (size_t)j->target_limit))
        return err_set(e, ERR_LIMIT, "job \"%" STR_FMT "\" has %zu targets, its limit is %" PRId64, STR_ARG(j->name),
                       total, j->target_limit > 0 ? j->target_limit : (int64_t)SCRAPE_MAX_TARGETS);
    target_spec *specs = arena_array(a, target_spec, MAX(total, 1));
    if (!specs)
        return err_nomem(e);
    for (size_t g = 0; g < j->group_count; g++) {
        for (size_t i = 0; i < j->groups[g].targets.len; i++) {
            err_kind k = make_target(j, &j->groups[g], j->groups[g].targets.at[i], a, &specs[n++], e);
            if (k)
                return k;
        }
    }
    *ret = specs;
    *ret_n = n;
    return OK;
}
