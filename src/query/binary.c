/* Operators between scalars and vectors. Meaning and error texts: Prometheus, promql/engine.go, VectorBinop. */
#include "query/functions/functions.h"

const binop_row binop_rows[OP_COUNT] = {         /* loosest first; right < left: right associative */
    [OP_OR]     = { OP_OR,     "or",     1, 1, .set = true },
    [OP_AND]    = { OP_AND,    "and",    2, 2, .set = true },
    [OP_UNLESS] = { OP_UNLESS, "unless", 2, 2, .set = true },
    [OP_EQ]     = { OP_EQ,     "==",     3, 3, .comparison = true },
    [OP_NE]     = { OP_NE,     "!=",     3, 3, .comparison = true },
    [OP_LT]     = { OP_LT,     "<",      3, 3, .comparison = true },
    [OP_LE]     = { OP_LE,     "<=",     3, 3, .comparison = true },
    [OP_GT]     = { OP_GT,     ">",      3, 3, .comparison = true },
    [OP_GE]     = { OP_GE,     ">=",     3, 3, .comparison = true },
    [OP_TRIM_UPPER] = { OP_TRIM_UPPER, "</", 3, 3, .trim = true },
    [OP_TRIM_LOWER] = { OP_TRIM_LOWER, ">/", 3, 3, .trim = true },
    [OP_ADD]    = { OP_ADD,    "+",      4, 4 },
    [OP_SUB]    = { OP_SUB,    "-",      4, 4 },
    [OP_MUL]    = { OP_MUL,    "*",      5, 5 },
    [OP_DIV]    = { OP_DIV,    "/",      5, 5 },
    [OP_MOD]    = { OP_MOD,    "%",      5, 5 },
    [OP_ATAN2]  = { OP_ATAN2,  "atan2",  5, 5 },
    [OP_POW]    = { OP_POW,    "^",      6, 5 },
};

const binop_row *binop_find(str text)
{
    for (size_t i = 0; i < OP_COUNT; i++)
        if (str_eq_nocase(text, str_from(binop_rows[i].text)))
            return &binop_rows[i];
    return NULL;
}

double binop_apply(binop op, double l, double r, bool *ret_keep)
{
    *ret_keep = true;
    switch (op) {
    case OP_ADD: return l + r;
    case OP_SUB: return l - r;
    case OP_MUL: return l * r;
    case OP_DIV: return l / r;
    case OP_MOD: return fmod(l, r);
    case OP_POW: return pow(l, r);
    case OP_ATAN2: return atan2(l, r);
    case OP_EQ: *ret_keep = l == r; break;
    case OP_NE: *ret_keep = l != r; break;
    case OP_LT: *ret_keep = l < r; break;
    case OP_LE: *ret_keep = l <= r; break;
    case OP_GT: *ret_keep = l > r; break;
    case OP_GE: *ret_keep = l >= r; break;
    case OP_TRIM_UPPER:
    case OP_TRIM_LOWER: *ret_keep = false; break;
    case OP_AND:
    case OP_OR:
    case OP_UNLESS:
    case OP_COUNT: break;
    }
    return l;
}

/* Arithmetic makes another number, and so does a bool of a comparison. */
static bool drops_name(const ast *node)
{
    const binop_row *row = node->binary.row;
    return (!row->comparison && !row->trim) || node->binary.return_bool;
}

/* ---- with a scalar on one side ---- */

static void scalar_scalar(const ast *node, value *l, const value *r)
{
    double *left = l->at[0].v, *right = r->at[0].v;
    for (size_t i = 0; i < l->steps; i++) {
        bool keep;
        double v = binop_apply(node->binary.row->op, left[i], right[i], &keep);
        left[i] = node->binary.row->comparison ? keep : v;
    }
}

/* ---- with native histograms ---- */

static const char *kind_name(const slot *s)
{
    return s->h ? "histogram" : "float";
}

static err_kind tell_incompatible(eval *ev, const ast *node, const slot *l, const slot *r)
{
    const char *op = node->binary.row->text;
    eval_info(ev, node, "incompatible sample types encountered for binary operator \"%s\": %s %s %s", op, kind_name(l), op, kind_name(r));
    return OK;
}

CHECKED static err_kind add_histograms(eval *ev, const ast *node, const histogram *l, const histogram *r, slot *ret)
{
    bool minus = node->binary.row->op == OP_SUB;
    histogram_sum s = { 0 };
    err_kind k = histogram_sum_set(&s, l);
    if (!k)
        k = histogram_sum_add(&s, r, minus ? -1 : 1);
    if (!k) {
        tell_combined(ev, node, &s, minus ? COMBINE_SUBTRACTION : COMBINE_ADDITION);
        if (minus)
            s.reset = HISTOGRAM_GAUGE; /* a difference may fall */
        ret->h = histogram_sum_value(&s, ev->arena, true);
        k = ret->h ? OK : ERR_NOMEM;
    }
    histogram_sum_done(&s);
    if (k == ERR_INVALID)
        eval_warn(ev, node, "incompatible bucket layout encountered for binary operator %s", node->binary.row->text);
    return k == ERR_NOMEM ? err_nomem(ev->e) : OK;
}

CHECKED static err_kind apply_histograms(eval *ev, const ast *node, const slot *l, const slot *r, slot *ret, bool *ret_keep)
{
    binop op = node->binary.row->op;
    *ret_keep = true;
    if (op == OP_EQ || op == OP_NE) {
        *ret = *l;
        *ret_keep = histogram_same(l->h, r->h) == (op == OP_EQ);
        return OK;
    }
    if (op != OP_ADD && op != OP_SUB)
        return tell_incompatible(ev, node, l, r);
    return add_histograms(ev, node, l->h, r->h, ret);
}

/* `l op r` of any kinds. *ret is empty where they make no sense together; *ret_keep as binop_apply. */
CHECKED static err_kind apply_slots(eval *ev, const ast *node, slot l, slot r, slot *ret, bool *ret_keep)
{
    binop op = node->binary.row->op;
    bool trim = node->binary.row->trim;
    *ret = NO_SLOT;
    *ret_keep = true;
    if (l.h && r.h)
        return apply_histograms(ev, node, &l, &r, ret, ret_keep);
    if (!l.h && !r.h && !trim) {
        ret->v = binop_apply(op, l.v, r.v, ret_keep);
        return OK;
    }
    if (op == OP_MUL)
        ret->h = histogram_scale(ev->arena, l.h ? l.h : r.h, l.h ? r.v : l.v, false);
    else if (l.h && op == OP_DIV)
        ret->h = histogram_scale(ev->arena, l.h, r.v, true);
    else if (l.h && trim)
        ret->h = histogram_trim(ev->arena, l.h, r.v, op == OP_TRIM_UPPER);
    else
        return tell_incompatible(ev, node, &l, &r);
    return ret->h ? OK : err_nomem(ev->e);
}

/* A comparison keeps the vector's number, on whichever side it stands. */
static double vector_scalar_slot(const ast *node, double vector, double scalar, bool swapped)
{
    bool keep;
    double v = swapped ? binop_apply(node->binary.row->op, scalar, vector, &keep)
                       : binop_apply(node->binary.row->op, vector, scalar, &keep);
    if (node->binary.return_bool)
        return keep;
    if (!keep)
        return EMPTY_SLOT;
    return node->binary.row->comparison ? vector : v;
}

/* One series that has histograms, or any if the operator is one of theirs. */
CHECKED static err_kind vector_scalar_native(eval *ev, const ast *node, value *vector, size_t i, const double *scalar, bool swapped)
{
    for (size_t k = 0; k < vector->steps; k++) {
        slot v = slot_of(&vector->at[i], k), s = { scalar[k], NULL }, made;
        bool keep;
        if (slot_empty(v.v) && !v.h)
            continue;
        if (apply_slots(ev, node, swapped ? s : v, swapped ? v : s, &made, &keep))
            return ev->e->kind;
        bool sense = made.h || !slot_empty(made.v);
        if (sense && node->binary.return_bool)
            made = (slot){ keep, NULL };
        else if (sense && node->binary.row->comparison)
            made = keep ? v : NO_SLOT;
        if (value_set(vector, i, k, made))
            return ev->e->kind;
    }
    return eval_spend(ev, 10 * vector->steps);
}

static err_kind vector_scalar(eval *ev, const ast *node, value *vector, const value *scalar, bool swapped)
{
    const double *s = scalar->at[0].v;
    for (size_t i = 0; i < vector->len; i++) {
        if (vector->at[i].h || node->binary.row->trim) {
            if (vector_scalar_native(ev, node, vector, i, s, swapped))
                return ev->e->kind;
            continue;
        }
        for (size_t k = 0; k < vector->steps; k++)
            if (!slot_empty(vector->at[i].v[k]))
                vector->at[i].v[k] = vector_scalar_slot(node, vector->at[i].v[k], s[k], swapped);
    }
    return drops_name(node) ? value_drop_names(vector, false) : OK;
}

/* ---- two vectors: every series gets the number of its match group ---- */

typedef struct joiner {
    eval *ev;
    const ast *node;
    const ast_matching *m;
    value sides[2];            /* left, right */
    uint32_t *group[2];
    size_t groups;
    uint32_t *one_of;          /* by group: index + 1 of the "one" side's series at this step */
    bool *taken;               /* by group: somebody of the "many" side matched at this step */
    labelmap out_map;
    struct { uint32_t one, out; } *last; /* by "many" series: its last partner + 1 and where the result went */
} joiner;

static void joiner_done(joiner *j)
{
    for (int i = 0; i < 2; i++) {
        value_done(&j->sides[i]);
        mem_free(j->group[i]);
    }
    mem_free(j->one_of);
    mem_free(j->taken);
    mem_free(j->last);
    labelmap_done(&j->out_map);
}

static labels match_labels(const ast_matching *m, labels l, label *out)
{
    return labels_filter(l, m->labels, m->label_count, m->on, !m->on, out);
}

CHECKED static err_kind number_groups(joiner *j)
{
    labelmap numbers;
    label kept[LABELS_MAX];
    err_kind k = OK;
    labelmap_init(&numbers, j->ev);
    for (int side = 0; side < 2 && !k; side++) {
        const value *v = &j->sides[side];
        j->group[side] = mem_alloc((v->len + 1) * sizeof **j->group);
        if (!j->group[side])
            k = err_nomem(j->ev->e);
        for (size_t i = 0; !k && i < v->len; i++) {
            size_t number = 0;
            k = labelmap_put(&numbers, match_labels(j->m, v->at[i].labels, kept), &number);
            j->group[side][i] = (uint32_t)number;
        }
    }
    j->groups = numbers.len;
    labelmap_done(&numbers);
    if (!k) {
        j->one_of = mem_calloc(j->groups + 1, sizeof *j->one_of);
        j->taken = mem_calloc(j->groups + 1, sizeof *j->taken);
        if (!j->one_of || !j->taken)
            k = err_nomem(j->ev->e);
    }
    return k;
}

/* ---- and, or, unless ---- */

/* Mark in `taken` the groups that have a sample at this step. */
static void mark_groups(joiner *j, int side, size_t step)
{
    memset(j->taken, 0, j->groups * sizeof *j->taken);
    for (size_t i = 0; i < j->sides[side].len; i++)
        if (slot_filled(&j->sides[side].at[i], step))
            j->taken[j->group[side][i]] = true;
}

/* Empty the slots of `side` whose group is marked (or is not, if `unmarked`). */
static void clear_slots(joiner *j, int side, size_t step, bool unmarked)
{
    for (size_t i = 0; i < j->sides[side].len; i++)
        if (j->taken[j->group[side][i]] != unmarked) {
            j->sides[side].at[i].v[step] = EMPTY_SLOT;
            if (j->sides[side].at[i].h)
                j->sides[side].at[i].h[step] = NULL;
        }
}

/* Move all series over; whatever cannot be taken is freed. */
static err_kind take_all(value *from, value *ret)
{
    err_kind k = OK;
    size_t taken = 0;
    for (; !k && taken < from->len; taken++) {
        from->ev->live -= from->at[taken].h ? 2 * from->steps : from->steps;
        k = value_adopt(ret, from->at[taken]);
    }
    memmove(from->at, from->at + taken, (from->len - taken) * sizeof *from->at);
    from->len -= taken;
    return k;
}

static err_kind eval_set(joiner *j, value *ret)
{
    binop op = j->node->binary.row->op;
    if (number_groups(j))
        return j->ev->e->kind;
    for (size_t step = 0; step < j->sides[0].steps; step++) {
        if (eval_spend(j->ev, j->sides[0].len + j->sides[1].len))
            return j->ev->e->kind;
        mark_groups(j, op == OP_OR ? 0 : 1, step);
        clear_slots(j, op == OP_OR ? 1 : 0, step, op == OP_AND);
    }
    value left = j->sides[0];
    j->sides[0] = (value){ 0 };
    *ret = left;
    if (op == OP_OR && j->sides[1].len && take_all(&j->sides[1], ret))
        return j->ev->e->kind;
    return value_join(ret, false);
}

/* ---- arithmetic and comparisons ---- */

/* The labels of a result: the many side's (or the left's), cut to the match, with what group_x(…) takes along.
 * labels_filter may read what it writes: entries only ever move forward. */
CHECKED static err_kind result_labels(joiner *j, labels many, labels one, labels *ret)
{
    const ast_matching *m = j->m;
    label kept[LABELS_MAX];
    bool drops = !j->node->binary.row->comparison && !j->node->binary.row->trim; /* a bool's name may go later */
    labels l = labels_filter(many, NULL, 0, false, drops || (j->node->binary.return_bool && !j->ev->delayed_names), kept);
    if (m->card == CARD_ONE_TO_ONE)
        l = labels_filter(l, m->labels, m->label_count, m->on, false, kept);
    if (m->include_count == 0)
        return labels_copy(j->ev, l, ret);
    for (size_t i = 0; i < m->include_count; i++)
        if (labels_with(j->ev, l, m->include[i], labels_get(one, m->include[i]), &l))
            return j->ev->e->kind;
    *ret = l;
    return OK;
}

static err_kind fail_duplicate(joiner *j, int one_side, size_t a, size_t b)
{
    AUTO(buf_done) buf text = BUF_INIT(4096);
    label kept[LABELS_MAX];
    const value *v = &j->sides[one_side];
    buf_append(&text, STR("found duplicate series for the match group {"));
    labels group = match_labels(j->m, v->at[a].labels, kept);
    for (size_t i = 0; i < group.len; i++) {
        buf_append(&text, i ? STR(", ") : STR(""));
        buf_append(&text, group.at[i].name);
        buf_append_char(&text, '=');
        ast_quote(group.at[i].value, &text);
    }
    buf_printf(&text, "} on the %s hand-side of the operation: [", one_side ? "right" : "left");
    labels_format(v->at[a].labels, &text);
    buf_append(&text, STR(", "));
    labels_format(v->at[b].labels, &text);
    /* The reason must survive an err's limited length, so the two series give way to it. */
    static const char reason[] = "];many-to-many matching not allowed: matching labels must be unique on one side";
    if (text.len > sizeof(((err *)0)->message) - sizeof reason)
        buf_truncate(&text, sizeof(((err *)0)->message) - sizeof reason);
    return eval_fail(j->ev, "%s%s", buf_cstr(&text), reason);
}

CHECKED static err_kind place_one_side(joiner *j, int one_side, size_t step, size_t *ret_count)
{
    const value *v = &j->sides[one_side];
    memset(j->one_of, 0, j->groups * sizeof *j->one_of);
    *ret_count = 0;
    for (size_t i = 0; i < v->len; i++) {
        if (!slot_filled(&v->at[i], step))
            continue;
        uint32_t *place = &j->one_of[j->group[one_side][i]];
        if (*place)
            return fail_duplicate(j, one_side, i, *place - 1);
        *place = (uint32_t)i + 1;
        *ret_count += 1;
    }
    return OK;
}

CHECKED static err_kind out_series(joiner *j, labels many, labels one, bool drop_name, value *ret, size_t *ret_number)
{
    labels l;
    if (result_labels(j, many, one, &l) || labelmap_put(&j->out_map, l, ret_number))
        return j->ev->e->kind;
    if (*ret_number < ret->len)
        return OK;
    if (value_add(ret, j->out_map.keys[*ret_number]))
        return j->ev->e->kind;
    ret->at[*ret_number].drop_name = drop_name || (j->ev->delayed_names && j->node->binary.return_bool);
    return OK;
}

/* What the two give, in the order they were written. *ret is empty if that was filtered away. */
CHECKED static err_kind pair_value(const joiner *j, slot many, slot one, slot *ret)
{
    bool swapped = j->m->card == CARD_ONE_TO_MANY, keep;
    if (apply_slots(j->ev, j->node, swapped ? one : many, swapped ? many : one, ret, &keep))
        return j->ev->e->kind;
    if (j->node->binary.return_bool && (ret->h || !slot_empty(ret->v)))
        *ret = (slot){ keep, NULL };
    else if (!keep)
        *ret = NO_SLOT;
    return OK;
}

CHECKED static err_kind put_result(joiner *j, size_t group, size_t number, size_t step, slot made, value *ret)
{
    if (j->m->card == CARD_ONE_TO_ONE && j->taken[group])
        return eval_fail(j->ev, "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
    if (slot_filled(&ret->at[number], step))
        return eval_fail(j->ev, "multiple matches for labels: grouping labels must ensure unique matches");
    j->taken[group] = true;
    return value_set(ret, number, step, made);
}

/* One series of the many side at one step. */
CHECKED static err_kind match_one(joiner *j, int many_side, size_t i, size_t step, value *ret)
{
    const value *many = &j->sides[many_side], *one = &j->sides[!many_side];
    size_t group = j->group[many_side][i], number;
    uint32_t partner = j->one_of[group];
    bool fill = many_side == 0 ? j->m->fill_right : j->m->fill_left;
    slot other = { many_side == 0 ? j->m->right_value : j->m->left_value, NULL }, made;
    if (!partner && !fill)
        return OK;
    if (partner)
        other = slot_of(&one->at[partner - 1], step);
    if (pair_value(j, slot_of(&many->at[i], step), other, &made))
        return j->ev->e->kind;
    if (slot_empty(made.v) && !made.h)
        return OK;
    if (partner && j->last[i].one == partner)
        number = j->last[i].out;
    else if (out_series(j, many->at[i].labels, partner ? one->at[partner - 1].labels : (labels){ 0 }, many->at[i].drop_name, ret, &number))
        return j->ev->e->kind;
    j->last[i].one = partner;
    j->last[i].out = (uint32_t)number;
    return put_result(j, group, number, step, made, ret);
}

/* fill…: series of the one side that nobody matched meet the filling value. */
CHECKED static err_kind fill_unmatched(joiner *j, int many_side, size_t step, const bool *matched, value *ret)
{
    const value *one = &j->sides[!many_side];
    slot fill = { many_side == 0 ? j->m->left_value : j->m->right_value, NULL }, made;
    label kept[LABELS_MAX];
    for (size_t i = 0; i < one->len; i++) {
        size_t group = j->group[!many_side][i], number;
        if (!slot_filled(&one->at[i], step) || matched[group])
            continue;
        if (pair_value(j, fill, slot_of(&one->at[i], step), &made))
            return j->ev->e->kind;
        if (slot_empty(made.v) && !made.h)
            continue;
        labels l = match_labels(j->m, one->at[i].labels, kept);
        if (out_series(j, l, one->at[i].labels, one->at[i].drop_name, ret, &number) || put_result(j, group, number, step, made, ret))
            return j->ev->e->kind;
    }
    return OK;
}

CHECKED static err_kind join_step(joiner *j, int many_side, size_t step, bool *matched, value *ret)
{
    bool fills = j->m->fill_left || j->m->fill_right;
    const value *many = &j->sides[many_side];
    size_t present = 0, ones;
    for (size_t i = 0; i < many->len; i++)
        present += slot_filled(&many->at[i], step);
    if (present == 0 && !fills)
        return OK; /* nothing can match, so nothing can be ambiguous either */
    if (place_one_side(j, !many_side, step, &ones) || (ones == 0 && !fills))
        return j->ev->e->kind;
    memset(j->taken, 0, j->groups * sizeof *j->taken);
    memset(matched, 0, j->groups * sizeof *matched);
    for (size_t i = 0; i < many->len; i++) {
        if (!slot_filled(&many->at[i], step))
            continue;
        matched[j->group[many_side][i]] = true;
        if (match_one(j, many_side, i, step, ret))
            return j->ev->e->kind;
    }
    if (many_side == 0 ? j->m->fill_left : j->m->fill_right)
        return fill_unmatched(j, many_side, step, matched, ret);
    return OK;
}

static err_kind eval_join(joiner *j, value *ret)
{
    int many_side = j->m->card == CARD_ONE_TO_MANY;
    size_t steps = j->sides[0].steps;
    value_init(ret, j->ev, PROMQL_VECTOR, steps);
    labelmap_init(&j->out_map, j->ev);
    if (number_groups(j))
        return j->ev->e->kind;
    bool *matched = mem_calloc(j->groups + 1, sizeof *matched);
    j->last = mem_calloc(j->sides[many_side].len + 1, sizeof *j->last);
    err_kind k = matched && j->last ? OK : err_nomem(j->ev->e);
    for (size_t step = 0; !k && step < steps; step++) {
        k = eval_spend(j->ev, j->sides[0].len + j->sides[1].len);
        if (!k)
            k = join_step(j, many_side, step, matched, ret);
    }
    mem_free(matched);
    return k;
}

err_kind eval_binary(eval *ev, const ast *node, const grid *g, value *ret)
{
    joiner j = { .ev = ev, .node = node, .m = node->binary.matching };
    value *l = &j.sides[0], *r = &j.sides[1];
    err_kind k = eval_node(ev, node->binary.left, g, l);
    if (!k)
        k = eval_node(ev, node->binary.right, g, r);
    bool left_scalar = node->binary.left->type == PROMQL_SCALAR, right_scalar = node->binary.right->type == PROMQL_SCALAR;
    if (!k && left_scalar && right_scalar)
        scalar_scalar(node, l, r);
    else if (!k && (left_scalar || right_scalar))
        k = vector_scalar(ev, node, left_scalar ? r : l, left_scalar ? l : r, left_scalar);
    else if (!k)
        k = node->binary.row->set ? eval_set(&j, ret) : eval_join(&j, ret);
    if (left_scalar || right_scalar) {
        value *taken = left_scalar && !right_scalar ? r : l;
        *ret = *taken;
        *taken = (value){ 0 };
    }
    joiner_done(&j);
    return k;
}
