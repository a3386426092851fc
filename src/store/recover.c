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
    err *e;
} replay;

static size_t id_cell(const id_map *m, uint64_t id)
{
    size_t mask = m->cap - 1, i = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;
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
    se->in_wal = true;
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

static err_kind replay_sample(replay *r, const wal_sample *x)
{
    head *h = &r->s->head;
    series *se = id_get(&r->ids, x->id);
    if (!se) {
        h->next_wal_id = MAX(h->next_wal_id, x->id + 1); /* never give a lost id to another series */
        r->orphans++;
        return OK;
    }
    if (x->t_ms < r->covered_ms || (se->has_last && x->t_ms <= se->last_t_ms))
        return OK;
    if (series_reserve(h, se, 1))
        return err_nomem(r->e);
    series_put(h, se, x->t_ms, x->v);
    atomic_fetch_add_explicit(&h->sample_count, 1, memory_order_relaxed);
    r->told->samples++;
    return OK;
}

static err_kind replay_samples(replay *r, str payload)
{
    wire_cursor c = wire_read(payload);
    wal_delta before = { 0 };
    wal_sample x;
    bool bad;
    while (wal_next_sample(&c, &before, &x, &bad)) {
        err_kind k = x.t_ms > STORE_TIME_MAX_MS || x.t_ms < -STORE_TIME_MAX_MS ? OK : replay_sample(r, &x);
        if (k)
            return k;
    }
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
        else if (record.type == WAL_SAMPLES)
            k = replay_samples(r, record.payload);
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
    replay r = { .s = s, .told = told, .e = e };
    size_t max_series = s->head.max_series;
    s->head.max_series = HEAD_SERIES_MAX - 1; /* what was acknowledged comes back, whatever the limit is now */
    k = replay_wal(&r, names, n, &last);
    s->head.max_series = max_series;
    mem_free(r.ids.at);
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
        size_t max_series = s->head.max_series;
        head_done(&s->head);
        *told = (store_recovery){ 0 };
        if (head_init(&s->head, max_series))
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
