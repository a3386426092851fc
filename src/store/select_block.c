/* A block's side of a selection: the pages of its series that touch the range, in the order of their labels. */
#include "store/select.h"
#include "store/tier.h"

/* The pages that touch what is wanted of the block, as pieces in the arena; *ret_len 0: none has a sample there. */
static err_kind pieces_of(store_selection *sel, const select_from *f, block_entry *entry, piece **ret, uint32_t *ret_len, err *e)
{
    int64_t from_ms = MAX(sel->from_ms, f->from_ms), to_ms = MIN(sel->to_ms, f->to_ms);
    bool any = false;
    block_page p;
    err_kind k;
    vec_clear(&sel->scratch);
    while (!(k = block_next_page(f->b, entry, &p, e)) && p.min_t_ms <= to_ms) {
        if (p.max_t_ms < from_ms)
            continue;
        any = any || block_page_has(f->b, &p, from_ms, to_ms);
        if (any && sel->hints.labels_only)
            break;
        piece x = { .min_t_ms = p.min_t_ms, .max_t_ms = p.max_t_ms, .count = p.count, .kind = (uint8_t)p.kind, .in = f->b, .page = p };
        if (vec_push(&sel->scratch, x))
            return err_nomem(e);
    }
    if (k && k != ERR_NOT_FOUND)
        return k;
    *ret_len = !any ? 0 : sel->hints.labels_only ? 1 : (uint32_t)sel->scratch.len;
    if (any && !sel->hints.labels_only && !(*ret = arena_dup(&sel->arena, sel->scratch.at, sel->scratch.len * sizeof *sel->scratch.at)))
        return err_nomem(e);
    return OK;
}

/* The label of a tier never shows. */
static err_kind copy_labels(store_selection *sel, const block_entry *entry, labels *ret, err *e)
{
    label *at = arena_alloc(&sel->arena, entry->label_count * sizeof *at);
    size_t n = 0;
    if (!at)
        return err_nomem(e);
    for (size_t i = 0; i < entry->label_count; i++)
        if (!str_eq(entry->labels[i].name, ROLLUP_LABEL))
            at[n++] = entry->labels[i];
    *ret = (labels){ at, n };
    return OK;
}

static err_kind take_series(store_selection *sel, uint32_t source, uint32_t number, size_t *count, err *e)
{
    const select_from *f = &sel->blocks.at[source];
    block_entry entry;
    part p = { .source = source, .from_ms = f->from_ms, .to_ms = f->to_ms };
    err_kind k = block_read_series(f->b, number, &entry, e);
    if (k || (k = pieces_of(sel, f, &entry, &p.at, &p.len, e)) || p.len == 0)
        return k;
    k = copy_labels(sel, &entry, &p.labels, e);
    return k ? k : select_add_part(sel, p, count, e);
}

static err_kind numbers_of(const select_from *f, const matcher *m, size_t n, str column, u32_vec *ret, err *e)
{
    if (str_empty(column))
        return block_match(f->b, m, n, ret, e);
    matcher *all = mem_calloc(n + 1, sizeof *all);
    if (!all)
        return err_nomem(e);
    for (size_t i = 0; i < n; i++)
        all[i] = m[i];
    all[n] = (matcher){ ROLLUP_LABEL, column, MATCH_EQ, NULL };
    err_kind k = block_match(f->b, all, n + 1, ret, e);
    mem_free(all);
    return k;
}

static err_kind take_column(store_selection *sel, uint32_t source, const matcher *m, size_t n, str column, err *e)
{
    u32_vec numbers = { 0 };
    size_t count = 0;
    err_kind k = numbers_of(&sel->blocks.at[source], m, n, column, &numbers, e);
    for (size_t i = 0; !k && i < numbers.len; i++)
        k = take_series(sel, source, numbers.at[i], &count, e);
    vec_done(&numbers);
    return k;
}

/* sums[first, middle) and counts[middle, len) are in the same order: pair them, the rest goes. */
static void pair_means(store_selection *sel, size_t first, size_t middle)
{
    size_t kept = first, next = middle, len = sel->parts.len;
    for (size_t i = first; i < middle; i++) {
        part p = sel->parts.at[i];
        size_t j = next;
        while (j < len && !labels_eq(sel->parts.at[j].labels, p.labels))
            j++;
        if (j == len)
            continue;
        p.counts = sel->parts.at[j].at;
        p.counts_len = sel->parts.at[j].len;
        sel->parts.at[kept++] = p;
        next = j + 1;
    }
    sel->parts.len = kept;
}

err_kind select_block(store_selection *sel, uint32_t source, const matcher *m, size_t n, err *e)
{
    str column = sel->blocks.at[source].column;
    if (!str_is(column, "mean"))
        return take_column(sel, source, m, n, column, e);
    size_t first = sel->parts.len;
    err_kind k = take_column(sel, source, m, n, STR("sum"), e);
    size_t middle = sel->parts.len;
    if (!k)
        k = take_column(sel, source, m, n, STR("count"), e);
    if (!k)
        pair_means(sel, first, middle);
    return k;
}
