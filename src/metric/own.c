#include "metric/metric.h"
#include <pthread.h>
#include <stdlib.h>

struct own_metric {
    const char *name, *labels_text, *help;
    metric_type type;
    _Atomic double value;
    own_metric *next;
};

static own_metric *all;                 /* newest first; never shrinks */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool same_text(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

static own_metric *find(const char *name, const char *labels_text)
{
    for (own_metric *m = all; m; m = m->next)
        if (strcmp(m->name, name) == 0 && same_text(m->labels_text, labels_text))
            return m;
    return NULL;
}

/* Names and labels are copied: callers may build them on the stack. */
static char *copy(const char *s) { return s ? mem_dup(s, strlen(s) + 1) : NULL; }

static own_metric *add(const char *name, const char *labels_text, const char *help, metric_type type)
{
    own_metric *m = mem_zalloc(sizeof *m);
    if (!m)
        return NULL;
    m->name = copy(name);
    m->labels_text = copy(labels_text);
    m->help = copy(help);
    m->type = type;
    if (!m->name || (labels_text && !m->labels_text) || (help && !m->help)) {
        mem_free((void *)m->name), mem_free((void *)m->labels_text), mem_free((void *)m->help), mem_free(m);
        return NULL;
    }
    m->next = all;
    return all = m;
}

static own_metric *get(const char *name, const char *labels_text, const char *help, metric_type type)
{
    pthread_mutex_lock(&lock);
    own_metric *m = find(name, labels_text);
    if (!m)
        m = add(name, labels_text, help, type);
    pthread_mutex_unlock(&lock);
    return m;
}

own_metric *own_counter(const char *name, const char *labels_text, const char *help) { return get(name, labels_text, help, METRIC_COUNTER); }
own_metric *own_gauge(const char *name, const char *labels_text, const char *help) { return get(name, labels_text, help, METRIC_GAUGE); }

void own_add(own_metric *m, double v)
{
    if (!m)
        return;
    double old = atomic_load_explicit(&m->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&m->value, &old, old + v, memory_order_relaxed, memory_order_relaxed)) {}
}

void own_set(own_metric *m, double v)
{
    if (m)
        atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

double own_value(const own_metric *m) { return m ? atomic_load_explicit(&m->value, memory_order_relaxed) : 0; }

static int by_name(const void *a, const void *b)
{
    const own_metric *x = *(own_metric *const *)a, *y = *(own_metric *const *)b;
    int c = strcmp(x->name, y->name);
    return c ? c : strcmp(x->labels_text ? x->labels_text : "", y->labels_text ? y->labels_text : "");
}

static void write_family(buf *out, own_metric *const *at, size_t n)
{
    if (at[0]->help)
        buf_printf(out, "# HELP %s %s\n", at[0]->name, at[0]->help);
    buf_printf(out, "# TYPE %s %s\n", at[0]->name, metric_type_name(at[0]->type));
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s%s%s%s ", at[i]->name, at[i]->labels_text ? "{" : "", at[i]->labels_text ? at[i]->labels_text : "",
                   at[i]->labels_text ? "}" : "");
        buf_append_double(out, own_value(at[i]));
        buf_append_char(out, '\n');
    }
}

void own_exposition(buf *out)
{
    vec(own_metric *) sorted = { 0 };
    pthread_mutex_lock(&lock);
    for (own_metric *m = all; m; m = m->next)
        if (vec_push(&sorted, m))
            break;
    pthread_mutex_unlock(&lock);
    if (sorted.len)
        qsort(sorted.at, sorted.len, sizeof *sorted.at, by_name);
    for (size_t i = 0, n; i < sorted.len; i += n) {
        for (n = 1; i + n < sorted.len && strcmp(sorted.at[i + n]->name, sorted.at[i]->name) == 0;)
            n++;
        write_family(out, &sorted.at[i], n);
    }
    vec_done(&sorted);
}
