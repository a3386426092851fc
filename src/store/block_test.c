#include "store/block.h"
#include "base/test.h"

/* A small block in `path`: series up{who="w0"} … up{who="w4"} and one without `who`, three samples each. */
typedef struct made { chunk *chunks[6]; block_chunk metas[6]; label labels[6][2]; char text[6][8]; labels series[6]; } made;

static void make(made *m)
{
    for (size_t i = 0; i < COUNT_OF(m->series); i++) {
        m->chunks[i] = chunk_of((const sample[]){ { 1000, (double)i }, { 2000, (double)i }, { 3000, (double)i } }, 3);
        CHECK(m->chunks[i]);
        snprintf(m->text[i], sizeof m->text[i], "w%zu", i - 1);
        m->labels[i][0] = (label){ METRIC_NAME, STR("up") };
        m->labels[i][1] = (label){ STR("who"), str_from(m->text[i]) };
        m->metas[i] = (block_chunk){ chunk_bytes(m->chunks[i]), 1000, 3000, 3, CHUNK_XOR };
        m->series[i] = (labels){ m->labels[i], i ? 2 : 1 };
    }
}

static void unmake(made *m)
{
    for (size_t i = 0; i < COUNT_OF(m->chunks); i++)
        chunk_unref(m->chunks[i]);
}

static err_kind write_made(const char *path, const made *m, block_cover cover, err *e)
{
    block_writer *w;
    err_kind k = block_writer_open(path, &w, e);
    for (size_t i = 0; !k && i < COUNT_OF(m->series); i++)
        if ((k = block_writer_add(w, m->series[i], &m->metas[i], 1, e)))
            block_writer_abort(w);
    return k ? k : block_writer_close(w, cover, e);
}

static void write_block(char path[FILE_PATH_MAX])
{
    made m;
    err e = { 0 };
    make(&m);
    CHECK_EQ(file_join(path, test_dir(), "00000007.block", NULL), OK);
    CHECK_OK(write_made(path, &m, (block_cover){ 3, 99 }, &e), e);
    unmake(&m);
}

TEST(block_gives_back_what_was_written)
{
    char path[FILE_PATH_MAX];
    write_block(path);
    block *b;
    err e = { 0 };
    CHECK_OK(block_open(path, 7, &b, &e), e);
    CHECK_EQ(b->series_count, 6);
    CHECK_EQ(b->sample_count, 18);
    CHECK_EQ(b->chunk_count, 6);
    CHECK_EQ(b->min_t_ms, 1000);
    CHECK_EQ(b->max_t_ms, 3000);
    CHECK_EQ(b->cover.wal_segment, 3);
    CHECK_EQ(b->cover.cut_t_ms, 99);
    for (uint32_t i = 0; i < b->series_count; i++) {
        block_entry entry;
        block_page p;
        sample_vec v = { 0 };
        CHECK_OK(block_read_series(b, i, &entry, &e), e);
        CHECK_EQ(entry.label_count, i ? 2 : 1);
        CHECK_OK(block_next_page(b, &entry, &p, &e), e);
        CHECK_OK(block_decode(b, &p, 0, 9999, &v, &e), e);
        CHECK_EQ(v.len, 3);
        CHECK_DOUBLE(v.at[2].v, (double)i);
        CHECK_EQ(block_next_page(b, &entry, &p, &e), ERR_NOT_FOUND);
        vec_done(&v);
    }
    CHECK_EQ(block_read_series(b, 6, &(block_entry){ 0 }, NULL), ERR_CORRUPT);
    block_unref(b);
}

TEST(block_notices_a_flipped_bit_anywhere_but_in_a_chunk)
{
    char path[FILE_PATH_MAX];
    write_block(path);
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    static block b;
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    CHECK_EQ(block_parse(buf_str(&bytes), true, &b, NULL), OK);
    size_t chunks_end = BLOCK_HEADER_BYTES + b.pages.len;
    for (size_t i = 0; i < bytes.len; i++) {
        bool free_to_change = (i >= 12 && i < BLOCK_HEADER_BYTES) || (i >= BLOCK_HEADER_BYTES && i < chunks_end);
        bytes.ptr[i] ^= 4;
        CHECK_MSG(free_to_change || block_parse(buf_str(&bytes), true, &b, NULL) != OK, "byte %zu", i);
        bytes.ptr[i] ^= 4;
    }
    for (size_t len = 0; len < bytes.len; len++)
        CHECK(block_parse(str_of(bytes.ptr, len), true, &b, NULL) != OK);
}

/* Without checksums, as if a hostile hand had set them right: an error or an answer, never a crash. */
TEST(block_reader_survives_any_changed_byte)
{
    char path[FILE_PATH_MAX];
    write_block(path);
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    static block b;
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    matcher m[] = { { STR("who"), STR("w1"), MATCH_EQ, NULL }, { METRIC_NAME, STR("up"), MATCH_EQ, NULL } };
    for (size_t i = 0; i < bytes.len; i++)
        for (int change = 1; change < 256; change *= 4) {
            bytes.ptr[i] ^= (char)change;
            b = (block){ .unchecked = true };
            if (!block_parse(buf_str(&bytes), false, &b, NULL)) {
                u32_vec found = { 0 };
                (void)!block_match(&b, m, 2, &found, NULL);
                for (size_t j = 0; j < found.len; j++) {
                    static block_entry entry;
                    block_page p;
                    sample_vec v = { 0 };
                    if (!block_read_series(&b, found.at[j], &entry, NULL) && !block_next_page(&b, &entry, &p, NULL))
                        (void)!block_decode(&b, &p, 0, 9999, &v, NULL);
                    vec_done(&v);
                }
                vec_done(&found);
            }
            bytes.ptr[i] ^= (char)change;
        }
}

TEST(block_write_leaves_nothing_behind_when_it_fails)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE };
    made m;
    make(&m);
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (unsigned nth = 0;; nth++) {
            char path[FILE_PATH_MAX], temp[FILE_PATH_MAX + 8];
            CHECK_EQ(file_join(path, test_dir(), "00000001.block", NULL), OK);
            snprintf(temp, sizeof temp, "%s.tmp", path);
            fault_write(nth, kinds[kind]);
            err_kind k = write_made(path, &m, (block_cover){ 0 }, NULL);
            bool fired = fault_write_fired();
            CHECK_EQ(k != OK, fired);
            CHECK(!file_exists(temp));
            block *b = NULL;
            if (file_exists(path)) /* the folder's fsync failed: then it is whole */
                CHECK_EQ(block_open(path, 1, &b, NULL), OK);
            block_unref(b);
            if (!fired)
                break;
        }
    unmake(&m);
}
