#include "store/remote/rqueue_inside.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "galenRQ1"
#define SPLIT_BYTES (1u << 20)         /* a record is closed beyond this */
#define BATCH_MAX_BYTES (512u << 20)
#define SCRATCH_KEEP_BYTES (4u << 20)  /* what an unusually large batch may leave allocated */
#define ROW_MAX_BYTES (3u * WIRE_VARINT_MAX + 8u)

/* ---- records ---- */

static size_t record_begin(buf *b)
{
    static const uint8_t blank[RQUEUE_RECORD_HEADER_BYTES];
    size_t start = b->len;
    return buf_append_bytes(b, blank, sizeof blank) ? SIZE_MAX : start;
}

static void record_end(buf *b, size_t start, rqueue_type type, size_t rows)
{
    if (buf_failed(b) || start == SIZE_MAX)
        return;
    uint8_t *head = (uint8_t *)b->ptr + start;
    size_t len = b->len - start - RQUEUE_RECORD_HEADER_BYTES;
    wire_put_u32(head, (uint32_t)len);
    wire_put_u32(head + 4, (uint32_t)type | (uint32_t)rows << 16);
    wire_put_u64(head + 8, hash_bytes(head + RQUEUE_RECORD_HEADER_BYTES, len, wire_u64(head)));
}

size_t rqueue_marks_bytes(size_t rows) { return rows ? (rows + 7) / 8 + 4 : 0; }

uint32_t rqueue_marks_check(const uint8_t *marks, size_t rows)
{
    return (uint32_t)hash_bytes(marks, (rows + 7) / 8, rows);
}

/* Rows in a record end with their marks, which say at first that nothing was refused. */
static void rows_end(rqueue *q)
{
    if (q->rows_record == SIZE_MAX)
        return;
    record_end(&q->rows, q->rows_record, RQUEUE_ROWS, q->record_rows);
    uint8_t marks[RQUEUE_ROWS_MAX / 8 + 8] = { 0 };
    size_t bits = (q->record_rows + 7) / 8;
    wire_put_u32(marks + bits, rqueue_marks_check(marks, q->record_rows));
    rqueue_marks where = { q->rows.len, q->batch_rows - q->record_rows, q->record_rows };
    if (vec_push(&q->marks, where))
        q->rows.failed = ERR_NOMEM;
    buf_append_bytes(&q->rows, marks, rqueue_marks_bytes(q->record_rows));
    q->rows_record = SIZE_MAX;
}

/* ---- a batch ---- */

uint32_t rqueue_begin(rqueue *q)
{
    if (q->fd >= 0 && q->len >= RQUEUE_SEGMENT_BYTES) {
        pthread_mutex_lock(&q->lock);
        if (q->dirty)
            fdatasync(q->fd); /* the next sync would not know it any more; a full segment is rare */
        close(q->fd);
        q->fd = -1;
        q->dirty = false;
        pthread_mutex_unlock(&q->lock);
    }
    if (q->fd < 0) {
        pthread_mutex_lock(&q->lock);
        q->writing = q->segments.len ? vec_last(&q->segments).number + 1 : 1;
        pthread_mutex_unlock(&q->lock);
        q->next_series = 0;
    }
    buf_reset(&q->series), buf_reset(&q->rows), buf_reset(&q->exemplars);
    vec_clear(&q->marks);
    q->series_record = q->rows_record = q->exemplar_record = SIZE_MAX;
    q->batch_rows = q->record_rows = 0;
    q->batch_first_series = q->next_series;
    q->written = false;
    return q->writing;
}

static void put_labels(buf *b, labels l)
{
    size_t room = WIRE_VARINT_MAX;
    for (size_t i = 0; i < l.len; i++)
        room += 2 * WIRE_VARINT_MAX + l.at[i].name.len + l.at[i].value.len;
    uint8_t *from = (uint8_t *)buf_reserve(b, room), *p = from;
    if (!p)
        return;
    p = wire_put_varint(p, l.len);
    for (size_t i = 0; i < l.len; i++) {
        const str parts[] = { l.at[i].name, l.at[i].value };
        for (size_t k = 0; k < 2; k++) {
            p = wire_put_varint(p, parts[k].len);
            memcpy(p, parts[k].ptr ? parts[k].ptr : "", parts[k].len);
            p += parts[k].len;
        }
    }
    buf_commit(b, (size_t)(p - from));
}

uint32_t rqueue_series(rqueue *q, labels l)
{
    if (q->series_record == SIZE_MAX) {
        uint8_t first[WIRE_VARINT_MAX];
        q->series_record = record_begin(&q->series);
        buf_append_bytes(&q->series, first, (size_t)(wire_put_varint(first, q->next_series) - first));
    }
    put_labels(&q->series, l);
    if (q->series.len - q->series_record > SPLIT_BYTES) {
        record_end(&q->series, q->series_record, RQUEUE_SERIES, 0);
        q->series_record = SIZE_MAX;
    }
    return q->next_series++;
}

/* Series and time as differences to the row before: within a scrape both are small. */
static uint8_t *row_begin(rqueue *q, uint32_t series, rqueue_kind kind, int64_t t_ms, size_t more)
{
    if (q->rows_record == SIZE_MAX) {
        q->rows_record = record_begin(&q->rows);
        q->record_rows = 0;
        q->before_series = q->before_t_ms = 0;
    }
    uint8_t *p = (uint8_t *)buf_reserve(&q->rows, ROW_MAX_BYTES + more);
    if (!p)
        return NULL;
    p = wire_put_varint(p, wire_zigzag(series - q->before_series) << 1 | kind);
    p = wire_put_varint(p, wire_zigzag((uint64_t)t_ms - q->before_t_ms));
    q->before_series = series;
    q->before_t_ms = (uint64_t)t_ms;
    q->record_rows++;
    q->batch_rows++;
    return p;
}

static void row_end(rqueue *q, const uint8_t *end)
{
    buf_commit(&q->rows, (size_t)((const char *)end - (q->rows.ptr + q->rows.len)));
    if (q->record_rows == RQUEUE_ROWS_MAX || q->rows.len - q->rows_record > SPLIT_BYTES)
        rows_end(q);
}

void rqueue_float(rqueue *q, uint32_t series, int64_t t_ms, double v)
{
    uint8_t *p = row_begin(q, series, RQUEUE_FLOAT, t_ms, 0);
    if (!p)
        return;
    memcpy(p, &v, sizeof v);
    row_end(q, p + sizeof v);
}

void rqueue_histogram(rqueue *q, uint32_t series, int64_t t_ms, str message)
{
    uint8_t *p = row_begin(q, series, RQUEUE_HISTOGRAM, t_ms, message.len);
    if (!p)
        return;
    p = wire_put_varint(p, message.len);
    memcpy(p, message.ptr ? message.ptr : "", message.len);
    row_end(q, p + message.len);
}

void rqueue_exemplar(rqueue *q, uint32_t series, const exemplar *x)
{
    if (q->exemplar_record == SIZE_MAX)
        q->exemplar_record = record_begin(&q->exemplars);
    uint8_t head[2 * WIRE_VARINT_MAX + 8], *p = wire_put_varint(head, series);
    p = wire_put_varint(p, wire_zigzag((uint64_t)x->t_ms));
    memcpy(p, &x->v, sizeof x->v);
    buf_append_bytes(&q->exemplars, head, (size_t)(p + sizeof x->v - head));
    put_labels(&q->exemplars, x->labels);
    if (q->exemplars.len - q->exemplar_record > SPLIT_BYTES) {
        record_end(&q->exemplars, q->exemplar_record, RQUEUE_EXEMPLARS, 0);
        q->exemplar_record = SIZE_MAX;
    }
}

size_t rqueue_batch_rows(const rqueue *q) { return q->batch_rows; }

/* ---- segments ---- */

err_kind rqueue_segment_path(const rqueue *q, uint32_t number, char out[FILE_PATH_MAX], err *e)
{
    char name[16];
    snprintf(name, sizeof name, "%08" PRIu32, number);
    return file_join(out, q->dir, name, e);
}

bool rqueue_header_fits(const uint8_t *b, uint32_t number)
{
    return memcmp(b, MAGIC, 8) == 0 && wire_u32(b + 8) == RQUEUE_VERSION && wire_u32(b + 12) == number;
}

static err_kind segment_open(rqueue *q, err *e)
{
    char path[FILE_PATH_MAX];
    uint8_t head[RQUEUE_HEADER_BYTES] = MAGIC;
    err_kind k = rqueue_segment_path(q, q->writing, path, e);
    if (k)
        return k;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, errno, "could not create \"%s\"", path);
    wire_put_u32(head + 8, RQUEUE_VERSION);
    wire_put_u32(head + 12, q->writing);
    k = file_write_all(fd, head, sizeof head, path, e);
    pthread_mutex_lock(&q->lock);
    uint64_t first_row = q->segments.len ? vec_last(&q->segments).first_row + vec_last(&q->segments).rows : 0;
    if (!k && vec_push(&q->segments, ((rqueue_segment){ q->writing, sizeof head, first_row, 0 })))
        k = err_nomem(e);
    if (!k) {
        q->fd = fd;
        q->total_bytes += sizeof head;
    }
    pthread_mutex_unlock(&q->lock);
    if (k) {
        close(fd);
        unlink(path);
        return k;
    }
    q->len = sizeof head;
    return OK;
}

/* Back to the last good length; if that fails too, this segment ends here and the next batch opens another. */
static void cut_back(rqueue *q, uint64_t len)
{
    err e = { 0 };
    bool fine = file_truncate(q->fd, len, q->dir, &e) == OK && lseek(q->fd, (off_t)len, SEEK_SET) >= 0;
    q->len = len;
    if (fine)
        return;
    log_warn("could not cut the remote queue back, going on in a new segment", KV_CSTR("dir", q->dir), KV_ERR(&e));
    pthread_mutex_lock(&q->lock);
    close(q->fd);
    q->fd = -1;
    pthread_mutex_unlock(&q->lock);
}

static void scratch_trim(rqueue *q)
{
    buf *all[] = { &q->series, &q->rows, &q->exemplars };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i]->cap > SCRATCH_KEEP_BYTES)
            buf_done(all[i]);
}

err_kind rqueue_write(rqueue *q, err *e)
{
    record_end(&q->series, q->series_record, RQUEUE_SERIES, 0);
    rows_end(q);
    record_end(&q->exemplars, q->exemplar_record, RQUEUE_EXEMPLARS, 0);
    size_t rows_at = q->series.len;
    buf_append(&q->series, buf_str(&q->rows));
    buf_append(&q->series, buf_str(&q->exemplars));
    err_kind k = OK;
    if (buf_failed(&q->rows) || buf_failed(&q->exemplars) || buf_failed(&q->series))
        k = err_nomem(e);
    if (!k && q->fd < 0)
        k = segment_open(q, e);
    if (!k) {
        for (size_t i = 0; i < q->marks.len; i++)
            q->marks.at[i].at += rows_at;
        q->batch_at = q->len;
        k = file_write_all(q->fd, q->series.ptr ? q->series.ptr : "", q->series.len, q->dir, e);
        if (k)
            cut_back(q, q->batch_at);
    }
    if (k) {
        q->next_series = q->batch_first_series;
        scratch_trim(q);
        err_context(e, "could not write to the remote queue");
        return k;
    }
    q->len += q->series.len;
    q->written = true;
    return OK;
}

void rqueue_abandon(rqueue *q)
{
    q->next_series = q->batch_first_series;
    if (q->written)
        cut_back(q, q->batch_at);
    q->written = false;
    scratch_trim(q);
}

static void mark_refused(rqueue *q, const uint8_t *refused)
{
    for (size_t i = 0; i < q->marks.len; i++) {
        rqueue_marks m = q->marks.at[i];
        uint8_t bits[RQUEUE_ROWS_MAX / 8 + 8] = { 0 };
        bool any = false;
        for (size_t r = 0; r < m.rows; r++)
            if (refused[m.first_row + r])
                bits[r / 8] |= (uint8_t)(1u << r % 8), any = true;
        wire_put_u32(bits + (m.rows + 7) / 8, rqueue_marks_check(bits, m.rows));
        /* If this fails, refused rows are sent: the receiver refuses them once more. */
        if (any && pwrite(q->fd, bits, rqueue_marks_bytes(m.rows), (off_t)(q->batch_at + m.at)) < 0)
            log_warn("could not mark refused rows in the remote queue", KV_CSTR("dir", q->dir));
    }
}

/* The oldest segments go until the rest fits; under the lock. */
static void make_room(rqueue *q)
{
    while (q->total_bytes > q->max_bytes && q->segments.len > 1) {
        rqueue_segment s = q->segments.at[0];
        char path[FILE_PATH_MAX];
        if (rqueue_segment_path(q, s.number, path, NULL) == OK)
            unlink(path);
        q->total_bytes -= s.bytes;
        q->dropped_rows += s.rows;
        vec_remove(&q->segments, 0);
    }
}

void rqueue_commit(rqueue *q, const uint8_t *refused)
{
    if (!q->written)
        return;
    if (refused)
        mark_refused(q, refused);
    pthread_mutex_lock(&q->lock);
    rqueue_segment *s = &vec_last(&q->segments);
    q->total_bytes += q->len - s->bytes;
    s->bytes = q->len;
    s->rows += q->batch_rows;
    q->dirty = true;
    make_room(q);
    pthread_mutex_unlock(&q->lock);
    q->written = false;
    scratch_trim(q);
}

void rqueue_sync(rqueue *q)
{
    pthread_mutex_lock(&q->lock);
    int fd = q->dirty && q->fd >= 0 ? dup(q->fd) : -1;
    q->dirty = q->dirty && fd < 0;
    pthread_mutex_unlock(&q->lock);
    if (fd < 0)
        return;
    err e = { 0 };
    if (file_sync(fd, q->dir, &e))
        log_warn("could not sync the remote queue; a power cut may take its last seconds", KV_ERR(&e));
    close(fd);
}

/* ---- opening ---- */

/* How far `bytes` from the front of a segment are whole records, and how many rows they hold. Segments that were
 * followed by another are walked by their lengths; only the last can have been torn. */
static err_kind measure(const char *path, bool last, rqueue_segment *s, err *e)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_kind k = err_sys(e, errno, "could not open \"%s\"", path);
        if (fd >= 0)
            close(fd);
        return k;
    }
    uint64_t size = (uint64_t)st.st_size, at = RQUEUE_HEADER_BYTES;
    AUTO(buf_done) buf record = BUF_INIT(RQUEUE_RECORD_MAX_BYTES + 1024);
    while (at + RQUEUE_RECORD_HEADER_BYTES <= size) {
        uint8_t head[RQUEUE_RECORD_HEADER_BYTES];
        if (pread(fd, head, sizeof head, (off_t)at) != sizeof head)
            break;
        size_t rows = wire_u32(head + 4) >> 16;
        uint64_t whole = (uint64_t)RQUEUE_RECORD_HEADER_BYTES + wire_u32(head) + rqueue_marks_bytes(rows);
        if (wire_u32(head) > RQUEUE_RECORD_MAX_BYTES || at + whole > size)
            break;
        rqueue_record r;
        buf_reset(&record);
        char *room = last ? buf_reserve(&record, (size_t)whole) : NULL;
        if (last && (!room || pread(fd, room, (size_t)whole, (off_t)at) != (ssize_t)whole ||
                     rqueue_parse_record(str_of(room, (size_t)whole), &r) != RQUEUE_WHOLE))
            break;
        s->rows += rows;
        at += whole;
    }
    s->bytes = last ? MIN(at, MAX(size, RQUEUE_HEADER_BYTES)) : size;
    if (last && s->bytes < size)
        (void)!ftruncate(fd, (off_t)s->bytes); /* what stays behind is never read */
    close(fd);
    return OK;
}

static bool segment_number(str name, uint32_t *ret)
{
    uint64_t n;
    if (name.len != 8 || !str_to_u64(name, &n) || n == 0 || n > UINT32_MAX)
        return false;
    *ret = (uint32_t)n;
    return true;
}

static err_kind find_segments(rqueue *q, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(RQUEUE_LIST_MAX_BYTES);
    str *names;
    size_t n;
    char path[FILE_PATH_MAX];
    err_kind k = file_list(q->dir, &a, &names, &n, e);
    uint64_t rows = 0;
    uint32_t last = 0, number;
    for (size_t i = 0; !k && i < n; i++)
        if (segment_number(names[i], &number))
            last = number; /* sorted */
    for (size_t i = 0; !k && i < n; i++) {
        if (!segment_number(names[i], &number))
            continue;
        rqueue_segment s = { .number = number, .first_row = rows };
        if ((k = rqueue_segment_path(q, number, path, e)) || (k = measure(path, number == last, &s, e)))
            break;
        if (vec_push(&q->segments, s))
            k = err_nomem(e);
        rows += s.rows;
        q->total_bytes += s.bytes;
    }
    return k;
}

err_kind rqueue_open(const char *dir, uint64_t max_bytes, rqueue **ret, err *e)
{
    rqueue *q = mem_zalloc(sizeof *q);
    if (!q)
        return err_nomem(e);
    str_copy(q->dir, sizeof q->dir, str_from(dir));
    q->max_bytes = MAX(max_bytes, 2u * (uint64_t)RQUEUE_SEGMENT_BYTES);
    q->fd = -1;
    pthread_mutex_init(&q->lock, NULL);
    buf *all[] = { &q->series, &q->rows, &q->exemplars };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        *all[i] = (buf)BUF_INIT(BATCH_MAX_BYTES);
    err_kind k = file_make_dirs(dir, 0700, e);
    if (!k)
        k = find_segments(q, e);
    if (k) {
        rqueue_close(q);
        err_context(e, "could not open the remote queue \"%s\"", dir);
        return k;
    }
    *ret = q;
    return OK;
}

void rqueue_close(rqueue *q)
{
    if (!q)
        return;
    rqueue_sync(q);
    if (q->fd >= 0)
        close(q->fd);
    buf_done(&q->series), buf_done(&q->rows), buf_done(&q->exemplars);
    vec_done(&q->marks);
    vec_done(&q->segments);
    vec_done(&q->readers);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}

rqueue_stats rqueue_stats_get(rqueue *q)
{
    pthread_mutex_lock(&q->lock);
    rqueue_stats s = { .bytes = q->total_bytes, .segments = q->segments.len, .dropped_rows = q->dropped_rows };
    if (q->segments.len)
        s.rows = vec_last(&q->segments).first_row + vec_last(&q->segments).rows;
    pthread_mutex_unlock(&q->lock);
    return s;
}
