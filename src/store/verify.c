#include "store/verify.h"
#include "store/inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const block_folders[] = { "blocks", "tiers/5m", "tiers/1h" };

typedef struct verifying {
    verify_tell tell;
    void *ctx;
    verify_report told;
    sample_vec samples;
    u32_vec numbers;
    buf bytes;
    err *e;
} verifying;

static void damage(verifying *v, const char *path, const char *what)
{
    v->told.damaged_files++;
    v->tell(v->ctx, path, what, true);
}

static void note(verifying *v, const char *path, const char *what)
{
    v->told.notes++;
    v->tell(v->ctx, path, what, false);
}

/* ---- a block ---- */

/* All samples of a page, their times inside it and rising. */
static err_kind check_page(verifying *v, const block *b, const block_page *p, const char **ret_what, err *e)
{
    vec_clear(&v->samples);
    buf_reset(&v->bytes);
    err_kind k = p->kind == CHUNK_XOR ? block_decode(b, p, INT64_MIN, INT64_MAX, &v->samples, e) : block_histogram_bytes(b, p, &v->bytes, e);
    if (k)
        return k;
    const sample_vec *s = &v->samples;
    for (size_t i = 0; i < s->len; i++)
        if (s->at[i].t_ms < p->min_t_ms || s->at[i].t_ms > p->max_t_ms || (i > 0 && s->at[i].t_ms <= s->at[i - 1].t_ms))
            *ret_what = "the times of a page are not in order";
    v->told.pages++;
    v->told.samples += p->count;
    return OK;
}

static bool labels_in_order(const block_entry *entry)
{
    for (size_t i = 0; i < entry->label_count; i++)
        if (str_empty(entry->labels[i].value) || (i > 0 && str_cmp(entry->labels[i - 1].name, entry->labels[i].name) >= 0))
            return false;
    return true;
}

/* *ret_bad counts pages; what is wrong with the index goes to *ret_what. */
static err_kind check_series(verifying *v, const block *b, uint32_t number, uint64_t *ret_bad, const char **ret_what, err *e)
{
    static block_entry entry;
    block_page page;
    err_kind k = block_read_series(b, number, &entry, e);
    if (k)
        return k;
    if (!labels_in_order(&entry))
        *ret_what = "the labels of a series are not in order";
    while (!(k = block_next_page(b, &entry, &page, e))) {
        k = check_page(v, b, &page, ret_what, e);
        if (k == ERR_NOMEM)
            return k;
        *ret_bad += k == ERR_CORRUPT;
    }
    v->told.series++;
    return k == ERR_NOT_FOUND ? OK : k;
}

/* Every posting names a series that has the label, and every label of every series has its posting. */
static err_kind check_postings(verifying *v, const block *b, uint64_t labels_total, const char **ret_what, err *e)
{
    static block_entry entry;
    uint64_t named = 0;
    err_kind k = OK;
    for (size_t row = 0; !k && row < block_label_count(b); row++) {
        block_label l;
        vec_clear(&v->numbers);
        if ((k = block_label_at(b, row, &l, e)) || (k = block_label_series(b, row, &v->numbers, e)))
            break;
        named += v->numbers.len;
        for (size_t i = 0; !k && i < v->numbers.len; i++) {
            if ((k = block_read_series(b, v->numbers.at[i], &entry, e)))
                break;
            if (!str_eq(labels_get((labels){ entry.labels, entry.label_count }, l.name), l.value))
                *ret_what = "a posting names a series without the label";
        }
    }
    if (!k && named != labels_total)
        *ret_what = "the postings do not name every series";
    return k;
}

static err_kind check_content(verifying *v, const block *b, uint64_t *ret_bad, const char **ret_what, err *e)
{
    static block_entry before, entry;
    uint64_t labels_total = 0;
    err_kind k = OK;
    for (uint32_t i = 0; !k && i < b->series_count; i++) {
        if ((k = block_read_series(b, i, &entry, e)))
            break;
        labels_total += entry.label_count;
        if (i > 0 && labels_cmp((labels){ before.labels, before.label_count }, (labels){ entry.labels, entry.label_count }) >= 0)
            *ret_what = "the series are not in order";
        before = entry;
        k = check_series(v, b, i, ret_bad, ret_what, e);
    }
    return k ? k : check_postings(v, b, labels_total, ret_what, e);
}

static err_kind verify_block(verifying *v, const char *path, err *e)
{
    block *b = NULL;
    err why = { 0 };
    uint64_t bad = 0;
    const char *what = NULL;
    err_kind k = block_open(path, 0, &b, &why);
    if (!k && b->tombstones_lost)
        note(v, path, "what was deleted of it cannot be read: it shows again");
    if (!k)
        k = check_content(v, b, &bad, &what, &why);
    block_unref(b);
    if (k == ERR_CORRUPT || k == ERR_UNSUPPORTED)
        return damage(v, path, why.message), OK;
    if (k == ERR_NOT_FOUND && !file_exists(path)) /* compacted away meanwhile */
        return OK;
    if (k) {
        if (e)
            *e = why;
        return k;
    }
    v->told.blocks++;
    v->told.damaged_pages += bad;
    char text[100];
    snprintf(text, sizeof text, "%" PRIu64 " pages fail their checksum or do not decode", bad);
    if (what || bad)
        damage(v, path, what ? what : text);
    return OK;
}

typedef err_kind (*visit)(void *ctx, const char *path, err *e);

/* Every file of a folder with this suffix; a folder that is not there has none. */
static err_kind each_file(const char *dir, const char *folder, const char *suffix, visit fn, void *ctx, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    char path[FILE_PATH_MAX];
    str *names;
    size_t n;
    err_kind k = file_join(path, dir, folder, e);
    if (k || !file_exists(path))
        return k;
    k = file_list(path, &a, &names, &n, e);
    for (size_t i = 0; !k && i < n; i++) {
        char file[FILE_PATH_MAX];
        if (str_ends(names[i], str_from(suffix)) && !(k = file_join(file, path, names[i].ptr, e)))
            k = fn(ctx, file, e);
    }
    return k;
}

static err_kind visit_block(void *ctx, const char *path, err *e) { return verify_block(ctx, path, e); }

/* ---- the log ---- */

static err_kind visit_log(void *ctx, const char *path, err *e)
{
    verifying *v = ctx;
    const char *slash = strrchr(path, '/');
    bool checkpoint, sense = true;
    uint32_t segment;
    if (!wal_parse_name(str_from(slash ? slash + 1 : path), &checkpoint, &segment))
        return OK;
    wal_reader r = WAL_READER_INIT;
    wal_record record;
    err_kind k = wal_reader_open(&r, path, e);
    while (!k && !(k = wal_reader_next(&r, &record, e))) {
        v->told.log_records++;
        sense = sense && wal_payload_valid(&record);
    }
    char text[120];
    snprintf(text, sizeof text, "%" PRIu64 " bytes at its end cannot be read", r.cut_bytes);
    bool cut = k == ERR_NOT_FOUND && r.cut_bytes > 0;
    v->told.log_files++;
    if (!sense)
        damage(v, path, "a record makes no sense");
    else if (cut && (checkpoint || !r.torn))
        damage(v, path, text);
    else if (cut)
        note(v, path, "it ends inside a record, as after a crash: that record was never acknowledged");
    wal_reader_done(&r);
    return k == ERR_NOT_FOUND ? OK : k;
}

err_kind store_verify(const char *dir, verify_tell tell, void *ctx, verify_report *ret, err *e)
{
    verifying v = { .tell = tell, .ctx = ctx, .bytes = BUF_INIT(BLOCK_SECTION_MAX_BYTES), .e = e };
    err_kind k = file_exists(dir) ? OK : err_set(e, ERR_NOT_FOUND, "there is no store \"%s\"", dir);
    for (size_t i = 0; !k && i < COUNT_OF(block_folders); i++)
        k = each_file(dir, block_folders[i], BLOCK_SUFFIX, visit_block, &v, e);
    if (!k)
        k = each_file(dir, "wal", "", visit_log, &v, e);
    vec_done(&v.samples);
    vec_done(&v.numbers);
    buf_done(&v.bytes);
    *ret = v.told;
    return k;
}

/* ---- repair ---- */

typedef struct repairing {
    verify_tell tell;
    void *ctx;
    repair_report told;
    uint64_t damage;           /* told of the file at hand */
} repairing;

static void note_damage(void *ctx, const char *path, const char *what, bool is_damage)
{
    repairing *r = ctx;
    r->damage += is_damage;
    r->tell(r->ctx, path, what, is_damage);
}

typedef struct salvage { sample_vec samples; buf bytes; vec(block_chunk) others; arena arena; } salvage;

static void salvage_done(salvage *s)
{
    vec_done(&s->samples);
    vec_done(&s->others);
    buf_done(&s->bytes);
    arena_done(&s->arena);
}

static err_kind keep_histograms(salvage *s, const block *b, const block_page *p, err *e)
{
    buf_reset(&s->bytes);
    err_kind k = block_histogram_bytes(b, p, &s->bytes, e);
    if (k)
        return k;
    char *copy = arena_dup(&s->arena, s->bytes.ptr, s->bytes.len);
    block_chunk c = { str_of(copy, s->bytes.len), p->min_t_ms, p->max_t_ms, p->count, p->kind };
    return !copy || vec_push(&s->others, c) ? err_nomem(e) : OK;
}

static err_kind salvage_series(repairing *r, const block *b, uint32_t number, salvage *s, block_writer *w, err *e)
{
    static block_entry entry;
    block_page page;
    err_kind k = block_read_series(b, number, &entry, e);
    vec_clear(&s->samples);
    vec_clear(&s->others);
    arena_reset(&s->arena);
    while (!k && !(k = block_next_page(b, &entry, &page, e))) {
        k = page.kind == CHUNK_XOR ? block_decode(b, &page, INT64_MIN, INT64_MAX, &s->samples, e) : keep_histograms(s, b, &page, e);
        if (k == ERR_CORRUPT) {
            r->told.lost_pages++;
            r->told.lost_samples += page.count;
            k = OK;
        }
    }
    if (k == ERR_CORRUPT) { /* its entry: what was read before it is kept */
        r->told.lost_pages++;
        k = ERR_NOT_FOUND;
    }
    if (k != ERR_NOT_FOUND || (s->samples.len == 0 && s->others.len == 0))
        return k == ERR_NOT_FOUND ? OK : k;
    return block_writer_add_samples(w, (labels){ entry.labels, entry.label_count }, s->samples.at, s->samples.len, s->others.at, s->others.len, e);
}

/* What can be read of `b` as a new file under `path`. */
static err_kind rewrite(repairing *r, const block *b, const char *path, err *e)
{
    AUTO(salvage_done) salvage s = { .bytes = BUF_INIT(BLOCK_SECTION_MAX_BYTES), .arena = ARENA_INIT(BLOCK_SECTION_MAX_BYTES) };
    block_writer *w;
    err_kind k = block_writer_open(path, &w, e);
    if (k)
        return k;
    for (uint32_t i = 0; !k && i < b->series_count; i++)
        k = salvage_series(r, b, i, &s, w, e);
    if (k || block_writer_series(w) == 0) {
        block_writer_abort(w);
        return k ? k : ERR_NOT_FOUND;
    }
    return block_writer_close(w, b->cover, e);
}

static err_kind set_aside(repairing *r, const char *path, err *e)
{
    char aside[FILE_PATH_MAX];
    if (snprintf(aside, sizeof aside, "%s" BLOCK_DAMAGED_SUFFIX, path) >= (int)sizeof aside)
        return err_set(e, ERR_LIMIT, "path too long: \"%.200s…\"", path);
    err_kind k = file_rename(path, aside, e);
    r->told.set_aside += !k;
    return k;
}

/* The new file gets the old one's name, so that its place among the others stays. */
static err_kind repair_block(void *ctx, const char *path, err *e)
{
    repairing *r = ctx;
    verifying v = { .tell = note_damage, .ctx = r, .bytes = BUF_INIT(BLOCK_SECTION_MAX_BYTES), .e = e };
    char fresh[FILE_PATH_MAX], tombstones_beside[FILE_PATH_MAX];
    block *b = NULL;
    err why = { 0 };
    r->damage = 0;
    err_kind k = block_open(path, 0, &b, &why);
    block_unref(TAKE(b));
    if (k == ERR_UNSUPPORTED) { /* whole, as far as we know: the galen that wrote it must find it again */
        r->tell(r->ctx, path, why.message, true);
        return OK;
    }
    k = verify_block(&v, path, e);
    vec_done(&v.samples);
    vec_done(&v.numbers);
    buf_done(&v.bytes);
    if (k || r->damage == 0)
        return k;
    if (block_open(path, 0, &b, NULL))
        return set_aside(r, path, e);
    k = snprintf(fresh, sizeof fresh, "%s.repaired", path) >= (int)sizeof fresh ? err_set(e, ERR_LIMIT, "path too long: \"%.200s…\"", path) : OK;
    if (!k)
        k = rewrite(r, b, fresh, e);
    bool something = !k;
    block_unref(b);
    if (k == ERR_NOT_FOUND)
        k = OK;
    if (k || (k = set_aside(r, path, e)) || !something)
        return k;
    r->told.rewritten++;
    if ((k = file_rename(fresh, path, e)))
        return k;
    /* What was deleted is not in the new block, and its series have other numbers. */
    return (k = tombstones_path(tombstones_beside, path, e)) ? k : file_remove(tombstones_beside, e);
}

err_kind store_repair(const char *dir, verify_tell tell, void *ctx, repair_report *ret, err *e)
{
    repairing r = { .tell = tell, .ctx = ctx };
    char lock[FILE_PATH_MAX];
    int fd = -1;
    err_kind k = file_exists(dir) ? file_join(lock, dir, "LOCK", e) : err_set(e, ERR_NOT_FOUND, "there is no store \"%s\"", dir);
    if (!k && (k = file_lock(lock, &fd, e)) == ERR_CONFLICT)
        err_hint(e, "Another galen runs on this data: stop it first.");
    for (size_t i = 0; !k && i < COUNT_OF(block_folders); i++)
        k = each_file(dir, block_folders[i], BLOCK_SUFFIX, repair_block, &r, e);
    if (fd >= 0)
        close(fd);
    *ret = r.told;
    return k;
}
