#include "store/remote/canonical_rows.h"

#define ROWS_MAX 256
#define TEXT_MAX ((size_t)64 << 20)
#define ENGINE_INFO STR("watch_engine_info")

typedef struct target { str engine; uint64_t seen[ROWS_MAX / 64], raw; } target;

struct canonical_rows {
    map targets;     /* "job\0instance" -> target */
    arena arena;
    uint64_t generation;
};

canonical_rows *canonical_rows_new(void)
{
    canonical_rows *c = mem_zalloc(sizeof *c);
    if (c)
        *c = (canonical_rows){ .arena = arena_init(TEXT_MAX), .generation = 1 };
    return c;
}

void canonical_rows_free(canonical_rows *c)
{
    if (!c)
        return;
    map_done(&c->targets);
    arena_done(&c->arena);
    mem_free(c);
}

uint64_t canonical_rows_generation(const canonical_rows *c) { return c->generation; }

static target *target_of(canonical_rows *c, labels l, bool make)
{
    AUTO(buf_done) buf key = BUF_INIT(2 * LABEL_MAX_BYTES + 2);
    buf_append(&key, labels_get(l, STR("job")));
    buf_append_char(&key, '\0');
    buf_append(&key, labels_get(l, STR("instance")));
    if (buf_failed(&key))
        return NULL;
    target *t = map_get(&c->targets, buf_str(&key));
    if (t || !make || c->targets.len >= CANONICAL_TARGETS_MAX)
        return t;
    t = arena_new(&c->arena, target);
    return t && map_set(&c->targets, buf_str(&key), t) == OK ? t : NULL;
}

static size_t signal_number(const char *name) { return (size_t)(canonical_find(str_from(name)) - canonical_signals); }

/* Does the raw series belong to this row? A histogram's row stands for its parts; *ret_suffix is "_bucket" and so on. */
static bool row_fits(const canonical_view *row, labels l, str *ret_suffix)
{
    static const char *const parts[] = { "_bucket", "_count", "_sum" };
    str name = labels_name(l), raw = str_from(row->raw);
    if (!str_starts(name, raw) || (row->match_label && !str_is(labels_get(l, str_from(row->match_label)), row->match_value)))
        return false;
    *ret_suffix = str_skip(name, raw.len);
    if (ret_suffix->len == 0)
        return true;
    if (canonical_signals[signal_number(row->name)].type != METRIC_HISTOGRAM)
        return false;
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (str_is(*ret_suffix, parts[i]))
            return true;
    return false;
}

static void meet_engine(canonical_rows *c, labels l)
{
    str engine = labels_get(l, STR("engine"));
    target *t = target_of(c, l, true);
    if (!t || str_eq(t->engine, engine))
        return;
    t->engine = arena_str(&c->arena, engine);
    c->generation++;
}

static void meet_row(canonical_rows *c, target *t, size_t row)
{
    uint64_t bit = UINT64_C(1) << row % 64;
    if (t->seen[row / 64] & bit)
        return;
    t->seen[row / 64] |= bit;
    c->generation++;
}

bool canonical_rows_meet(canonical_rows *c, labels l)
{
    str name = labels_name(l), suffix;
    bool any = false;
    if (str_eq(name, ENGINE_INFO)) {
        meet_engine(c, l);
        return false;
    }
    const canonical_signal *signal = canonical_find(name);
    target *t = signal ? target_of(c, l, true) : NULL;
    if (t) {
        uint64_t bit = UINT64_C(1) << (signal - canonical_signals);
        c->generation += !(t->raw & bit);
        t->raw |= bit;
    }
    for (size_t i = 0; i < canonical_view_count && i < ROWS_MAX; i++) {
        if (!row_fits(&canonical_views[i], l, &suffix))
            continue;
        if ((t = target_of(c, l, true)))
            meet_row(c, t, i);
        any = true;
    }
    return any;
}

/* The row that answers to this one's name at the target, so far. */
static const canonical_view *winner(const target *t, const canonical_view *row)
{
    for (size_t i = 0; i < canonical_view_count && i < ROWS_MAX; i++) {
        const canonical_view *v = &canonical_views[i];
        if (t->seen[i / 64] >> i % 64 & 1 && strcmp(v->name, row->name) == 0 && strcmp(v->engine, row->engine) == 0)
            return v;
    }
    return row;
}

static bool row_applies(const target *t, const canonical_view *row)
{
    if (!str_is(t->engine, row->engine) || t->raw >> signal_number(row->name) & 1)
        return false;
    const canonical_view *w = winner(t, row);
    return w == row || (row->also && w->also == row->also);
}

static void rename_label(labels_builder *b, labels from, const char *old, const char *new)
{
    str value = old ? labels_get(from, str_from(old)) : STR_EMPTY;
    if (str_empty(value))
        return;
    labels_put(b, str_from(old), STR_EMPTY);
    labels_put(b, str_from(new), value);
}

static labels rewrite(const canonical_view *row, labels from, str suffix, arena *a)
{
    labels_builder b;
    labels_start_from(&b, a, from);
    str name = arena_printf(a, "%s%" STR_FMT, row->name, STR_ARG(suffix));
    labels_put(&b, METRIC_NAME, name);
    rename_label(&b, from, row->rank_label, "rank");
    rename_label(&b, from, row->rename_from, row->rename_to);
    if (row->add_label)
        labels_put(&b, str_from(row->add_label), str_from(row->add_value));
    labels_put(&b, STR("engine"), str_from(row->engine));
    labels l = labels_finish(&b);
    label *at = name.ptr && l.len ? arena_dup(a, l.at, l.len * sizeof *at) : NULL;
    return at ? (labels){ at, l.len } : (labels){ NULL, 0 };
}

size_t canonical_rows_of(canonical_rows *c, labels l, arena *a, canonical_row ret[CANONICAL_PER_SERIES])
{
    const target *t = target_of(c, l, false);
    size_t n = 0;
    str suffix;
    for (size_t i = 0; t && n < CANONICAL_PER_SERIES && i < canonical_view_count && i < ROWS_MAX; i++) {
        const canonical_view *row = &canonical_views[i];
        if (!row_fits(row, l, &suffix) || !row_applies(t, row))
            continue;
        ret[n] = (canonical_row){ rewrite(row, l, suffix, a), row->scale == 0 ? 1 : row->scale };
        n += ret[n].labels.len > 0;
    }
    return n;
}
