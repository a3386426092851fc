#include "store/remote/rqueue_inside.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define CURSOR_MAGIC "galenRQC"

/* ---- bytes to events ---- */

rqueue_verdict rqueue_parse_record(str bytes, rqueue_record *ret)
{
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    *ret = (rqueue_record){ .size = RQUEUE_RECORD_HEADER_BYTES };
    if (bytes.len < RQUEUE_RECORD_HEADER_BYTES)
        return RQUEUE_CUT;
    uint32_t len = wire_u32(p), type = wire_u32(p + 4) & 0xffff;
    size_t rows = wire_u32(p + 4) >> 16;
    if (len > RQUEUE_RECORD_MAX_BYTES || rows > RQUEUE_ROWS_MAX || (rows && type != RQUEUE_ROWS))
        return RQUEUE_DAMAGED;
    ret->size = RQUEUE_RECORD_HEADER_BYTES + len + rqueue_marks_bytes(rows);
    if (bytes.len < ret->size)
        return RQUEUE_CUT;
    ret->payload = str_of((const char *)p + RQUEUE_RECORD_HEADER_BYTES, len);
    if (hash_bytes(ret->payload.ptr, len, wire_u64(p)) != wire_u64(p + 8))
        return RQUEUE_DAMAGED;
    ret->type = type;
    ret->rows = rows;
    const uint8_t *marks = p + RQUEUE_RECORD_HEADER_BYTES + len;
    if (rows && wire_u32(marks + (rows + 7) / 8) == rqueue_marks_check(marks, rows))
        ret->marks = marks; /* otherwise the write of the marks was torn: all rows count */
    return RQUEUE_WHOLE;
}

static bool read_labels(wire_cursor *c, label at[LABELS_MAX], labels *ret)
{
    uint64_t n;
    if (!wire_varint(c, &n) || n > LABELS_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!wire_str(c, &at[i].name) || !wire_str(c, &at[i].value))
            return false;
    *ret = (labels){ at, (size_t)n };
    return true;
}

static bool deliver_series(wire_cursor *c, const rqueue_events *to)
{
    uint64_t number;
    label at[LABELS_MAX];
    labels l;
    if (!wire_varint(c, &number))
        return false;
    for (; wire_left(c) > 0; number++) {
        if (number > UINT32_MAX || !read_labels(c, at, &l))
            return false;
        if (to->series)
            to->series(to->ctx, (uint32_t)number, l);
    }
    return true;
}

static bool read_double(wire_cursor *c, double *ret)
{
    str bytes;
    if (!wire_bytes(c, sizeof *ret, &bytes))
        return false;
    memcpy(ret, bytes.ptr, sizeof *ret);
    return true;
}

static bool deliver_rows(const rqueue_record *r, wire_cursor *c, const rqueue_events *to)
{
    uint64_t series = 0, t = 0;
    for (size_t i = 0; i < r->rows; i++) {
        uint64_t ds, dt;
        if (!wire_varint(c, &ds) || !wire_varint(c, &dt))
            return false;
        series += wire_unzigzag(ds >> 1);
        t += wire_unzigzag(dt);
        rqueue_row row = { .kind = (rqueue_kind)(ds & 1), .t_ms = (int64_t)t };
        if (series > UINT32_MAX || (row.kind == RQUEUE_FLOAT ? !read_double(c, &row.v) : !wire_str(c, &row.message)))
            return false;
        row.series = (uint32_t)series;
        row.refused = r->marks && r->marks[i / 8] >> i % 8 & 1;
        if (to->row)
            to->row(to->ctx, &row);
    }
    return wire_left(c) == 0;
}

static bool deliver_exemplars(wire_cursor *c, const rqueue_events *to)
{
    label at[LABELS_MAX];
    while (wire_left(c) > 0) {
        uint64_t series, t;
        exemplar x;
        if (!wire_varint(c, &series) || series > UINT32_MAX || !wire_varint(c, &t) || !read_double(c, &x.v) ||
            !read_labels(c, at, &x.labels))
            return false;
        x.t_ms = (int64_t)wire_unzigzag(t);
        if (to->exemplar)
            to->exemplar(to->ctx, (uint32_t)series, &x);
    }
    return true;
}

bool rqueue_deliver(const rqueue_record *r, const rqueue_events *to)
{
    wire_cursor c = wire_read(r->payload);
    switch (r->type) {
    case RQUEUE_SERIES: return deliver_series(&c, to);
    case RQUEUE_ROWS: return deliver_rows(r, &c, to);
    case RQUEUE_EXEMPLARS: return deliver_exemplars(&c, to);
    default: return true; /* of a later version */
    }
}

size_t rqueue_parse(str bytes, const rqueue_events *to)
{
    size_t used = 0;
    rqueue_record r;
    while (rqueue_parse_record(str_skip(bytes, used), &r) == RQUEUE_WHOLE && rqueue_deliver(&r, to))
        used += r.size;
    return used;
}

/* ---- the cursor file ---- */

static void cursor_load(rqueue_reader *r)
{
    uint8_t b[RQUEUE_CURSOR_BYTES];
    if (pread(r->cursor_fd, b, sizeof b, 0) != sizeof b || memcmp(b, CURSOR_MAGIC, 8) != 0 ||
        wire_u64(b + 24) != hash_bytes(b, 24, RQUEUE_VERSION))
        return;
    r->done = (rqueue_place){ .segment = wire_u32(b + 8), .offset = wire_u64(b + 16) };
}

err_kind rqueue_reader_done(rqueue_reader *r, rqueue_place place, err *e)
{
    uint8_t b[RQUEUE_CURSOR_BYTES] = CURSOR_MAGIC;
    if (!rqueue_before(r->done, place))
        return OK;
    wire_put_u32(b + 8, place.segment);
    wire_put_u64(b + 16, place.offset);
    wire_put_u64(b + 24, hash_bytes(b, 24, RQUEUE_VERSION));
    pthread_mutex_lock(&r->q->lock);
    r->done = place;
    pthread_mutex_unlock(&r->q->lock);
    if (lseek(r->cursor_fd, 0, SEEK_SET) < 0)
        return err_sys(e, errno, "could not write \"%s\"", r->cursor_path);
    return file_write_all(r->cursor_fd, b, sizeof b, r->cursor_path, e);
}

static err_kind cursor_path(const rqueue *q, const char *name, char out[FILE_PATH_MAX], err *e)
{
    char file[RQUEUE_NAME_MAX + 16];
    snprintf(file, sizeof file, "cursor.%s", name);
    return file_join(out, q->dir, file, e);
}

void rqueue_forget(rqueue *q, const char *name)
{
    char path[FILE_PATH_MAX];
    if (cursor_path(q, name, path, NULL) == OK)
        (void)file_remove(path, NULL);
}

/* ---- a reader ---- */

/* The cursor's place, were its segment still there. Without one: behind all that is queued now. */
static void find_start(rqueue_reader *r)
{
    rqueue *q = r->q;
    pthread_mutex_lock(&q->lock);
    size_t n = q->segments.len, i = 0;
    if (n && (!r->done.segment || r->done.segment > q->segments.at[n - 1].number))
        r->done = (rqueue_place){ .segment = q->segments.at[n - 1].number, .offset = q->segments.at[n - 1].bytes };
    if (!n) /* what the first batch will be */
        r->done = (rqueue_place){ .segment = 1, .offset = RQUEUE_HEADER_BYTES };
    while (i + 1 < n && q->segments.at[i].number < r->done.segment)
        i++;
    if (n) {
        r->next = (rqueue_place){ q->segments.at[i].number, RQUEUE_HEADER_BYTES, q->segments.at[i].first_row };
        if (q->segments.at[i].number == r->done.segment)
            r->resume = r->done;
        else /* what the cursor knew is gone, or it was never reached */
            r->done = q->segments.at[i].number > r->done.segment ? r->next : (rqueue_place){ 0 };
    }
    r->place = r->next;
    pthread_mutex_unlock(&q->lock);
}

err_kind rqueue_reader_open(rqueue *q, const char *name, rqueue_reader **ret, err *e)
{
    rqueue_reader *r = mem_zalloc(sizeof *r);
    if (!r)
        return err_nomem(e);
    r->q = q;
    r->fd = r->cursor_fd = -1;
    r->data = (buf)BUF_INIT(RQUEUE_RECORD_MAX_BYTES + RQUEUE_READ_BYTES);
    err_kind k = cursor_path(q, name, r->cursor_path, e);
    if (!k && (r->cursor_fd = open(r->cursor_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        k = err_sys(e, errno, "could not open \"%s\"", r->cursor_path);
    if (!k) {
        cursor_load(r);
        find_start(r);
        pthread_mutex_lock(&q->lock);
        k = vec_push(&q->readers, r) ? err_nomem(e) : OK;
        pthread_mutex_unlock(&q->lock);
    }
    if (k) {
        rqueue_reader_close(r);
        return k;
    }
    /* Now, not only with the first answer: what is queued while nobody answers must be ours after a kill -9 too. */
    rqueue_place start = r->done;
    r->done = (rqueue_place){ 0 };
    k = start.segment ? rqueue_reader_done(r, start, e) : OK;
    if (k)
        rqueue_reader_close(r);
    else
        *ret = r;
    return k;
}

void rqueue_reader_close(rqueue_reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->q->lock);
    for (size_t i = 0; i < r->q->readers.len; i++)
        if (r->q->readers.at[i] == r) {
            vec_remove(&r->q->readers, i);
            break;
        }
    pthread_mutex_unlock(&r->q->lock);
    if (r->fd >= 0)
        close(r->fd);
    if (r->cursor_fd >= 0)
        close(r->cursor_fd);
    buf_done(&r->data);
    mem_free(r);
}

rqueue_place rqueue_reader_place(const rqueue_reader *r) { return r->place; }
rqueue_place rqueue_reader_next(const rqueue_reader *r) { return r->next; }
uint64_t rqueue_reader_lost(const rqueue_reader *r) { return r->lost; }

static void go_to(rqueue_reader *r, const rqueue_segment *s)
{
    if (s->first_row > r->next.row)
        r->lost += s->first_row - r->next.row;
    r->next = (rqueue_place){ s->number, RQUEUE_HEADER_BYTES, s->first_row };
    r->told_segment = false;
    buf_reset(&r->data);
    r->data_at = 0;
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

/* Which bytes of our segment may be read; moves on to the next one at its end. False: nothing is waiting. */
static bool find_bytes(rqueue_reader *r, rqueue_segment *ret)
{
    rqueue *q = r->q;
    bool found = false;
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->segments.len && !found; i++) {
        const rqueue_segment *s = &q->segments.at[i];
        if (s->number < r->next.segment)
            continue;
        if (s->number > r->next.segment)
            go_to(r, s);
        found = r->next.offset < s->bytes;
        *ret = *s;
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}

static err_kind open_segment(rqueue_reader *r, err *e)
{
    char path[FILE_PATH_MAX];
    uint8_t head[RQUEUE_HEADER_BYTES];
    err_kind k = rqueue_segment_path(r->q, r->next.segment, path, e);
    if (k)
        return k;
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return err_sys(e, errno, "could not open \"%s\"", path);
    if (pread(r->fd, head, sizeof head, 0) != sizeof head || !rqueue_header_fits(head, r->next.segment))
        return err_set(e, ERR_CORRUPT, "\"%s\" is not a segment of the remote queue", path);
    return OK;
}

/* Have `need` bytes from the next place on in r->data, if the segment has that many. */
static err_kind fill(rqueue_reader *r, const rqueue_segment *s, size_t need, str *ret, err *e)
{
    size_t skip = (size_t)(r->next.offset - r->data_at);
    if (r->data_at == 0 || skip > r->data.len) {
        buf_reset(&r->data);
        r->data_at = r->next.offset;
        skip = 0;
    }
    if (r->data.len - skip < need) {
        buf_consume(&r->data, skip);
        r->data_at = r->next.offset;
        skip = 0;
        uint64_t end = r->data_at + r->data.len, want = MIN(MAX((uint64_t)need, RQUEUE_READ_BYTES), s->bytes - r->data_at);
        while (r->data.len < want) {
            char *room = buf_reserve(&r->data, (size_t)(want - r->data.len));
            if (!room)
                return err_nomem(e);
            ssize_t n = pread(r->fd, room, (size_t)(want - r->data.len), (off_t)end);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return err_sys(e, errno, "could not read the remote queue");
            if (n == 0)
                break;
            buf_commit(&r->data, (size_t)n);
            end += (uint64_t)n;
        }
    }
    *ret = str_skip(buf_str(&r->data), skip);
    return OK;
}

/* The rest of this segment cannot be trusted: lengths lead from one record to the next. */
static err_kind skip_damage(rqueue_reader *r, const rqueue_segment *s, err *e)
{
    uint64_t end_row = s->first_row + s->rows;
    err_set(e, ERR_CORRUPT, "segment %" PRIu32 " of the remote queue is damaged at byte %" PRIu64 ": %" PRIu64 " rows are lost",
            r->next.segment, r->next.offset, end_row > r->next.row ? end_row - r->next.row : 0);
    r->lost += end_row > r->next.row ? end_row - r->next.row : 0;
    r->next = (rqueue_place){ s->number, s->bytes, end_row };
    buf_reset(&r->data);
    r->data_at = 0;
    return ERR_CORRUPT;
}

static err_kind next_record(rqueue_reader *r, const rqueue_segment *s, rqueue_record *ret, err *e)
{
    str bytes;
    err_kind k = fill(r, s, RQUEUE_RECORD_HEADER_BYTES, &bytes, e);
    if (k)
        return k;
    rqueue_verdict v = rqueue_parse_record(bytes, ret);
    if (v == RQUEUE_CUT && r->next.offset + ret->size <= s->bytes) {
        if ((k = fill(r, s, ret->size, &bytes, e)))
            return k;
        v = rqueue_parse_record(bytes, ret);
    }
    return v == RQUEUE_WHOLE ? OK : skip_damage(r, s, e);
}

err_kind rqueue_read(rqueue_reader *r, const rqueue_events *to, err *e)
{
    rqueue_segment s;
    rqueue_record record;
    if (!find_bytes(r, &s))
        return ERR_NOT_FOUND;
    err_kind k = r->fd < 0 ? open_segment(r, e) : OK;
    if (k == ERR_CORRUPT)
        return skip_damage(r, &s, e);
    if (k || (k = next_record(r, &s, &record, e)))
        return k;
    if (!r->told_segment && to->segment)
        to->segment(to->ctx, s.number);
    r->told_segment = true;
    r->place = r->next;
    r->next.offset += record.size;
    r->next.row += record.rows;
    if (record.type != RQUEUE_SERIES && rqueue_before(r->place, r->resume))
        return OK;
    return rqueue_deliver(&record, to) ? OK : skip_damage(r, &s, e);
}

/* ---- what nobody needs any more ---- */

void rqueue_trim(rqueue *q)
{
    pthread_mutex_lock(&q->lock);
    uint32_t needed = UINT32_MAX;
    for (size_t i = 0; i < q->readers.len; i++)
        needed = MIN(needed, q->readers.at[i]->done.segment);
    while (q->segments.len > 1 && q->segments.at[0].number < needed) { /* the last one knows which number comes next */
        char path[FILE_PATH_MAX];
        if (rqueue_segment_path(q, q->segments.at[0].number, path, NULL) == OK)
            unlink(path);
        q->total_bytes -= q->segments.at[0].bytes;
        vec_remove(&q->segments, 0);
    }
    pthread_mutex_unlock(&q->lock);
}
