/* At open: the blocks are mapped, then the log is replayed into the head: the newest checkpoint, and the
 * segments behind it. A replay can meet a sample twice (checkpoint and segment, or block and segment after
 * a crash in between); within a series times only rise, so what is not after the last one is dropped. */
#include "store/blocks.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLAY_HISTOGRAM_BYTES (64u << 20) /* what one run of histograms takes unpacked */
#define RECOVER_ATTEMPTS 5 /* reading beside a running galen, whose files may go while we look */

/* WAL id -> series, open addressing. */
typedef struct id_map { struct { uint64_t id; series *series; } *at; size_t len, cap; } id_map;

typedef struct replay {
    store *s;
    id_map ids;
    store_recovery *told;
    uint64_t orphans;             /* samples whose definition is lost */
    uint64_t damaged;             /* files that end in damage */
    int64_t covered_ms;           /* samples of this segment before it are in a block */
    int64_t min_t_ms, max_t_ms;   /* of what was kept */
    sample_vec floats;
    err *e;
} replay;

/* Ids are given out in order and rows come in it: neighbours shall lie together, so the low bits are the hash. */
static size_t id_cell(const id_map *m, uint64_t id)
{
    size_t mask = m->cap - 1, i = (size_t)id & mask;
    while (m->at[i].series && m->at[i].id != id)
        i = (i + 1) & mask;
    return i;
}

static err_kind id_put(id_map *m, uint64_t id, series *s)
{
    if (m->len * 2 >= m->cap) {
        id_map bigger = { .cap = MAX(m->cap * 2, 64) };
        bigger.at = mem_calloc(bigger.cap, sizeof *bigger.at);
        if (!bigger.at)
            return ERR_NOMEM;
        for (size_t i = 0; i < m->cap; i++)
            if (m->at[i].series)
                bigger.at[id_cell(&bigger, m->at[i].id)] = m->at[i];
        bigger.len = m->len;
        mem_free(m->at);
        *m = bigger;
    }
    size_t i = id_cell(m, id);
    m->len += !m->at[i].series;
    m->at[i].id = id;
    m->at[i].series = s;
    return OK;
}

static series *id_get(const id_map *m, uint64_t id) { return m->cap ? m->at[id_cell(m, id)].series : NULL; }

/* ---- records ---- */

static err_kind replay_definition(replay *r, uint64_t id, labels l)
{
    head *h = &r->s->head;
    uint64_t hash = labels_hash(l);
    series *se = head_find(h, l, hash);
    if (!se) {
        err_kind k = head_add(h, l, hash, &se, r->e);
        if (k)
            return k;
        r->told->series++;
    } else if (se->wal_id != id) {
        /* A second life: the first ended when all its samples had moved into blocks. */
        series_clear(h, se);
    }
    se->wal_id = id;
    se->flags |= SERIES_IN_WAL;
    h->next_wal_id = MAX(h->next_wal_id, id + 1);
    return id_put(&r->ids, id, se) ? err_nomem(r->e) : OK;
}

static err_kind replay_series(replay *r, str payload)
{
    wire_cursor c = wire_read(payload);
    label at[LABELS_MAX];
    size_t n;
    uint64_t id;
    bool bad;
    while (wal_next_series(&c, &id, at, &n, &bad)) {
        err_kind k = replay_definition(r, id, (labels){ at, n });
        if (k)
            return k;
    }
    r->damaged += bad;
    return OK;
}

/* The series of a row that is to be kept; NULL: it is not. */
static series *wanted(replay *r, uint64_t id, int64_t t_ms)
{
    head *h = &r->s->head;
    if (t_ms > STORE_TIME_MAX_MS || t_ms < -STORE_TIME_MAX_MS)
        return NULL;
    series *se = id_get(&r->ids, id);
    if (!se) {
        if (id < WAL_ID_MAX)
            h->next_wal_id = MAX(h->next_wal_id, id + 1); /* never give a lost id to another series */
        r->orphans++;
        return NULL;
    }
    return t_ms < r->covered_ms ? NULL : se;
}

/* What is not after the last one was met before: in the checkpoint, or in a block. */
static bool is_new(const replay *r, const series *se, int64_t t_ms)
{
    return !(se->flags & SERIES_HAS_LAST) || t_ms > series_last_t(&r->s->head, se);
}

static void count_sample(replay *r, int64_t t_ms)
{
    r->min_t_ms = MIN(r->min_t_ms, t_ms);
    r->max_t_ms = MAX(r->max_t_ms, t_ms);
    r->told->samples++;
}

static err_kind put_float(replay *r, series *se, int64_t t_ms, double v)
{
    chunk_pool *pool = &r->s->head.pool;
    uint32_t need = se->open.count >= CHUNK_MAX_SAMPLES ? CHUNK_SAMPLE_MAX_BLOCKS : filling_need(&se->open);
    if (pool->free_count < need && chunk_pool_reserve(pool, need))
        return err_nomem(r->e);
    if (se->open.count >= CHUNK_MAX_SAMPLES && series_prepare(&r->s->head, se))
        return err_nomem(r->e);
    series_put(&r->s->head, se, t_ms, v);
    count_sample(r, t_ms);
    return OK;
}

static err_kind put_histogram(replay *r, series *se, int64_t t_ms, const histogram *x)
{
    series_more *m = series_more_get(&r->s->head, se);
    if (!m || histogram_filling_reserve(&m->histograms, histogram_code_max(x)))
        return err_nomem(r->e);
    histogram *own = histogram_clone(x);
    if (!own)
        return err_nomem(r->e);
    series_put_histogram(&r->s->head, se, t_ms, own);
    count_sample(r, t_ms);
    return OK;
}

static err_kind put_late(replay *r, series *se, int64_t t_ms, double v, const histogram *x)
{
    series_more *m = series_more_get(&r->s->head, se);
    histogram *own = m && x ? histogram_clone(x) : NULL;
    if (!m || (x && !own) || vec_reserve(&m->late, m->late.len + 1)) {
        mem_free(own);
        return err_nomem(r->e);
    }
    count_sample(r, t_ms);
    series_put_late(&r->s->head, se, t_ms, v, own);
    return OK;
}

/* The series that the next rows belong to are asked for early. */
static err_kind replay_floats(replay *r, wire_cursor c, bool late, bool *bad)
{
    enum { WINDOW = 16 };
    wal_row rows[WINDOW];
    wal_before before = { 0 };
    err_kind k = OK;
    for (size_t n = WINDOW; !k && n == WINDOW;) {
        series *se[WINDOW];
        for (n = 0; n < WINDOW && wal_next_row(&c, &before, &rows[n], bad); n++)
            if ((se[n] = wanted(r, rows[n].id, rows[n].t_ms)))
                __builtin_prefetch(se[n], 1);
        for (size_t i = 0; i < n; i++)
            if (se[i] && se[i]->open.tail)
                __builtin_prefetch(chunk_block_at(&r->s->head.pool, se[i]->open.tail - 1), 1);
        for (size_t i = 0; !k && i < n; i++) {
            if (!se[i])
                continue;
            if (late)
                k = put_late(r, se[i], rows[i].t_ms, rows[i].v, NULL);
            else if (is_new(r, se[i], rows[i].t_ms))
                k = put_float(r, se[i], rows[i].t_ms, rows[i].v);
        }
    }
    return k;
}

static err_kind replay_histograms(replay *r, wire_cursor c, bool late, bool *bad)
{
    AUTO(arena_done) arena a = ARENA_INIT(REPLAY_HISTOGRAM_BYTES);
    wal_before before = { 0 };
    wal_row row;
    while (wal_next_key(&c, &before, &row, bad)) {
        histogram *x;
        arena_reset(&a);
        err_kind k = histogram_get(&c, &a, &x);
        if (k == ERR_NOMEM)
            return err_nomem(r->e);
        if (k || histogram_check(x, NULL)) {
            *bad = true;
            return OK;
        }
        series *se = wanted(r, row.id, row.t_ms);
        if (se && late)
            k = put_late(r, se, row.t_ms, 0, x);
        else if (se && is_new(r, se, row.t_ms))
            k = put_histogram(r, se, row.t_ms, x);
        if (k)
            return k;
    }
    return OK;
}

static err_kind replay_rows(replay *r, str payload)
{
    wire_cursor c = wire_read(payload), rows;
    uint8_t kind;
    bool bad = false;
    err_kind k = OK;
    while (!k && !bad && wal_next_section(&c, &kind, &rows, &bad)) {
        if (kind == WAL_FLOATS || kind == WAL_LATE_FLOATS)
            k = replay_floats(r, rows, kind == WAL_LATE_FLOATS, &bad);
        else if (kind == WAL_HISTOGRAMS || kind == WAL_LATE_HISTOGRAMS)
            k = replay_histograms(r, rows, kind == WAL_LATE_HISTOGRAMS, &bad);
        else
            bad = true;
    }
    r->damaged += bad;
    return k;
}

/* ---- chunks of a checkpoint ---- */

/* The samples of a chunk that fills go in one by one: that is how its state comes back. */
static err_kind replay_open(replay *r, series *se, const sample_vec *x)
{
    err_kind k = OK;
    for (size_t i = 0; !k && i < x->len; i++)
        if (is_new(r, se, x->at[i].t_ms))
            k = put_float(r, se, x->at[i].t_ms, x->at[i].v);
    return k;
}

static err_kind keep_whole(replay *r, series *se, const wal_chunk *from, int64_t min_t_ms, int64_t max_t_ms)
{
    chunk *c = chunk_new(from->kind, from->count, min_t_ms, max_t_ms, from->bytes.len);
    if (!c)
        return err_nomem(r->e);
    memcpy(c->bytes, from->bytes.ptr, from->bytes.len);
    if (series_take_chunk(&r->s->head, se, c, from->place == WAL_CHUNK_LATE))
        return err_nomem(r->e);
    count_sample(r, min_t_ms);
    count_sample(r, max_t_ms);
    r->told->samples += from->count;
    r->told->samples -= 2;
    return OK;
}

static err_kind replay_float_chunk(replay *r, series *se, const wal_chunk *from)
{
    err_kind k = chunk_decode(from->bytes, from->count, INT64_MIN, INT64_MAX, &r->floats);
    if (k == ERR_NOMEM)
        return err_nomem(r->e);
    if (k) {
        r->damaged++;
        return OK;
    }
    if (from->place == WAL_CHUNK_OPEN)
        return replay_open(r, se, &r->floats);
    const sample *last = &vec_last(&r->floats);
    k = keep_whole(r, se, from, r->floats.at[0].t_ms, last->t_ms);
    if (!k && from->place == WAL_CHUNK_CLOSED)
        series_seen(&r->s->head, se, last->t_ms, last->v);
    return k;
}

static err_kind replay_histogram_chunk(replay *r, series *se, const wal_chunk *from)
{
    AUTO(arena_done) arena a = ARENA_INIT(REPLAY_HISTOGRAM_BYTES);
    histogram_vec all = { 0 };
    err_kind k = histogram_chunk_decode(from->bytes, from->count, INT64_MIN, INT64_MAX, &a, &all);
    if (k == ERR_NOMEM) {
        err_nomem(r->e);
    } else if (k || all.len != from->count) {
        r->damaged++;
        k = OK;
    } else if (from->place == WAL_CHUNK_LATE) {
        k = keep_whole(r, se, from, all.at[0].t_ms, vec_last(&all).t_ms);
    } else {
        /* All go in again: the run's state is its last sample. */
        for (size_t i = 0; !k && i < all.len; i++)
            if (is_new(r, se, all.at[i].t_ms))
                k = put_histogram(r, se, all.at[i].t_ms, all.at[i].h);
    }
    vec_done(&all);
    return k;
}

static err_kind replay_chunks(replay *r, str payload)
{
    wire_cursor c = wire_read(payload);
    uint64_t id, n;
    int64_t cut_t_ms;
    bool bad;
    while (wal_next_chunks(&c, &id, &cut_t_ms, &n, &bad)) {
        series *se = id_get(&r->ids, id);
        for (uint64_t i = 0; i < n; i++) {
            wal_chunk x;
            if (!wal_next_chunk(&c, &x) || x.kind > CHUNK_HISTOGRAM || x.place > WAL_CHUNK_LATE) {
                r->damaged++;
                return OK;
            }
            vec_clear(&r->floats);
            err_kind k = !se ? OK : x.kind == CHUNK_XOR ? replay_float_chunk(r, se, &x) : replay_histogram_chunk(r, se, &x);
            r->orphans += se ? 0 : x.count;
            if (k)
                return k;
        }
        /* Without a sample in order nothing is there to hide, and the next one may come at any time: late ones alone do not
         * say how far the series went. */
        if (se)
            head_cold(&r->s->head, se)->cut_t_ms = se->flags & SERIES_HAS_LAST ? cut_t_ms : INT64_MIN;
    }
    r->damaged += bad;
    return OK;
}

/* One that was met before is out of order now. */
static err_kind replay_exemplars(replay *r, str payload)
{
    wire_cursor c = wire_read(payload);
    label series_labels[LABELS_MAX], own[LABELS_MAX];
    exemplar_row row;
    bool bad;
    while (exemplar_log_next(&c, series_labels, own, &row, &bad))
        if (exemplars_put(&r->s->exemplars, &row, NULL) == ERR_NOMEM)
            return err_nomem(r->e);
    r->damaged += bad;
    return OK;
}

static err_kind replay_records(replay *r, wal_reader *reader)
{
    wal_record record;
    err_kind k;
    while (!(k = wal_reader_next(reader, &record, r->e))) {
        if (record.type == WAL_SERIES)
            k = replay_series(r, record.payload);
        else if (record.type == WAL_ROWS)
            k = replay_rows(r, record.payload);
        else if (record.type == WAL_CHUNKS)
            k = replay_chunks(r, record.payload);
        else if (record.type == WAL_EXEMPLARS)
            k = replay_exemplars(r, record.payload);
        if (k)
            return k;
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

/* ---- files ---- */

/* A torn tail is cut off, so that the next start does not tell of it again. Failing is harmless. */
static void cut_tail(const char *path, uint64_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)file_truncate(fd, size, path, NULL);
    close(fd);
}

static err_kind replay_file(replay *r, const char *path)
{
    wal_reader reader;
    err_kind k = wal_reader_open(&reader, path, r->e);
    if (!k)
        k = replay_records(r, &reader);
    if (!k && reader.cut_bytes > 0) {
        r->told->cut_bytes += reader.cut_bytes;
        if (!reader.torn)
            r->damaged++;
        else if (!r->s->read_only && reader.offset >= WAL_HEADER_BYTES)
            cut_tail(path, reader.offset);
    }
    wal_reader_done(&reader);
    return k;
}

/* Samples of this and earlier segments before the returned time are in blocks. */
static int64_t covered_ms(const store *s, uint32_t segment)
{
    int64_t t = INT64_MIN;
    for (size_t i = 0; i < s->blocks.len; i++)
        if (s->blocks.at[i]->cover.wal_segment >= segment)
            t = MAX(t, s->blocks.at[i]->cover.cut_t_ms);
    return t;
}

static err_kind replay_segments(replay *r, const str *names, size_t n, uint32_t after, uint32_t *ret_last)
{
    *ret_last = after;
    for (size_t i = 0; i < n; i++) {
        char path[FILE_PATH_MAX];
        bool checkpoint;
        uint32_t segment;
        err_kind k;
        if (!wal_parse_name(names[i], &checkpoint, &segment) || checkpoint || segment <= after)
            continue;
        r->covered_ms = covered_ms(r->s, segment);
        if ((k = file_join(path, r->s->wal_dir, names[i].ptr, r->e)) || (k = replay_file(r, path)))
            return k;
        r->told->segments++;
        *ret_last = MAX(*ret_last, segment);
    }
    return OK;
}

/* A checkpoint gets its name when it is whole. An empty segment is one that galen died before writing to. */
static bool is_empty(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size < WAL_HEADER_BYTES;
}

static err_kind replay_wal(replay *r, const str *names, size_t n, uint32_t *ret_last)
{
    uint32_t newest = 0;
    for (size_t i = 0; i < n; i++) {
        bool checkpoint;
        uint32_t segment;
        if (wal_parse_name(names[i], &checkpoint, &segment) && checkpoint)
            newest = MAX(newest, segment);
    }
    if (newest) {
        char path[FILE_PATH_MAX];
        r->covered_ms = INT64_MIN;
        err_kind k = wal_checkpoint_path(path, r->s->wal_dir, newest, r->e);
        if (k || (k = replay_file(r, path)))
            return k;
        r->damaged += is_empty(path);
        r->s->checkpoint = newest;
    }
    return replay_segments(r, names, n, newest, ret_last);
}

static void note(store_recovery *told, const char *text, uint64_t n)
{
    size_t used = strlen(told->note);
    snprintf(told->note + used, sizeof told->note - used, "%s%" PRIu64 " %s", used ? "; " : "", n, text);
}

static err_kind recover_wal(store *s, store_recovery *told, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    str *names = NULL;
    size_t n = 0;
    uint32_t last = 0;
    if (!file_exists(s->wal_dir))
        return OK;
    err_kind k = file_list(s->wal_dir, &a, &names, &n, e);
    if (k)
        return k;
    /* What was acknowledged comes back, whatever the guard says now. */
    replay r = { .s = s, .told = told, .e = e, .min_t_ms = INT64_MAX, .max_t_ms = INT64_MIN };
    k = replay_wal(&r, names, n, &last);
    if (r.min_t_ms <= r.max_t_ms)
        head_grew(&s->head, told->samples, r.min_t_ms, r.max_t_ms);
    mem_free(r.ids.at);
    vec_done(&r.floats);
    if (k)
        return k;
    if (told->cut_bytes)
        note(told, "bytes cut from the log", told->cut_bytes);
    if (r.damaged)
        note(told, "log files damaged before their end", r.damaged);
    if (r.orphans)
        note(told, "samples of series whose definition is lost", r.orphans);
    wal_init(&s->wal, s->wal_dir, last);
    return OK;
}

/* ---- blocks ---- */

static err_kind load_blocks(store *s, store_recovery *told, err *e)
{
    err_kind k = blocks_load(s, &s->blocks, told, e);
    for (size_t i = 0; !k && i < STORE_TIERS; i++)
        k = blocks_load(s, &s->tiers[i].blocks, told, e);
    return k;
}

/* Half-written files of a crash: they never counted. */
static void remove_temps(const char *dir)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    str *names;
    size_t n;
    if (file_list(dir, &a, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        char path[FILE_PATH_MAX];
        if (str_ends(names[i], STR(".tmp")) && !file_join(path, dir, names[i].ptr, NULL))
            (void)file_remove(path, NULL);
    }
}

/* Beside a running galen: the log first, then the blocks, so that what moves in between is seen twice, not
 * never; and again from the start when a file goes while we look. */
static err_kind recover_beside(store *s, store_recovery *told, err *e)
{
    err_kind k = ERR_NOT_FOUND;
    for (int attempt = 0; k == ERR_NOT_FOUND && attempt < RECOVER_ATTEMPTS; attempt++) {
        size_t max_exemplars = s->exemplars.max;
        head_done(&s->head);
        exemplars_done(&s->exemplars);
        *told = (store_recovery){ 0 };
        if (head_init(&s->head) | exemplars_init(&s->exemplars, max_exemplars))
            return err_nomem(e);
        k = recover_wal(s, told, e);
    }
    return k ? k : load_blocks(s, told, e);
}

err_kind store_recover(store *s, store_recovery *told, err *e)
{
    if (s->read_only)
        return recover_beside(s, told, e);
    remove_temps(s->wal_dir);
    remove_temps(s->blocks.dir);
    for (size_t i = 0; i < STORE_TIERS; i++)
        remove_temps(s->tiers[i].blocks.dir);
    wal_init(&s->wal, s->wal_dir, 0);
    err_kind k = load_blocks(s, told, e);
    return k ? k : recover_wal(s, told, e);
}
