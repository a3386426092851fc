#include "base/test.h"
#include "base/json.h"
#include <math.h>

TEST(json_reads_by_path_and_forgives_absence)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    err e = { 0 };
    CHECK_OK(json_parse(STR("{\"a\":{\"b\":[1,-2,2.5,\"\\u4e2d\",true,null,{}]},\"big\":18446744073709551615}"), &doc, &e), e);
    json_val list = json_get(json_get(json_root(doc), "a"), "b");
    CHECK_EQ(json_len(list), 7);
    CHECK_EQ(json_i64_or(json_at(list, 1), 0), -2);
    CHECK_DOUBLE(json_number_or(json_at(list, 2), 0), 2.5);
    CHECK_EQ(json_i64_or(json_at(list, 2), 99), 99);
    CHECK_STR(json_str_or(json_at(list, 3), STR("")), "\xe4\xb8\xad");
    CHECK(json_bool_or(json_at(list, 4), false));
    CHECK_EQ(json_typeof(json_at(list, 5)), JSON_NULL);
    CHECK_EQ(json_typeof(json_at(list, 6)), JSON_OBJECT);
    CHECK_EQ(json_typeof(json_at(list, 7)), JSON_ABSENT);
    CHECK_STR(json_str_or(json_get(json_get(json_get(json_root(doc), "x"), "y"), "z"), STR("none")), "none");
    CHECK_DOUBLE(json_number_or(json_get(json_root(doc), "big"), 0), 18446744073709551615.0);
    str key;
    json_val v;
    size_t n = 0;
    for (json_iter it = json_walk(json_root(doc)); json_next(&it, &key, &v); n++)
        CHECK_STR(key, n ? "big" : "a");
    CHECK_EQ(n, 2);
}

TEST(json_empty_containers_have_no_members)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    err e = { 0 };
    CHECK_OK(json_parse(STR("[{},[],1]"), &doc, &e), e);
    CHECK_EQ(json_len(json_at(json_root(doc), 0)), 0);
    CHECK_EQ(json_len(json_at(json_root(doc), 1)), 0);
    CHECK_EQ(json_len(json_root(doc)), 3);
}

TEST(json_refuses_what_is_none)
{
    static const char *const bad[] = { "", "{", "[1,]", "{\"a\" 1}", "nul", "[1] x", "\"\\x\"", "\"\xff\"", "01" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        json_doc *doc = NULL;
        err e = { 0 };
        CHECK_MSG(json_parse(str_from(bad[i]), &doc, &e) == ERR_PARSE && e.message[0], "accepted %s", bad[i]);
    }
    AUTO(buf_done) buf deep = BUF_INIT(10000);
    for (int i = 0; i < 1000; i++)
        buf_append_char(&deep, '[');
    json_doc *doc = NULL;
    CHECK_EQ(json_parse(buf_str(&deep), &doc, NULL), ERR_PARSE);
}

TEST(json_writer_places_commas_and_escapes)
{
    AUTO(buf_done) buf out = BUF_INIT(1000);
    json_writer w = json_writer_to(&out);
    json_begin(&w, '{');
    json_put_str(&w, "a", STR("q\"\\\n\x01"));
    json_key(&w, "b");
    json_begin(&w, '[');
    json_i64(&w, -1);
    json_double(&w, 0.5);
    json_double(&w, NAN);
    json_bool(&w, true);
    json_str(&w, STR("x\xffy"));
    json_begin(&w, '{');
    json_end(&w, '}');
    json_end(&w, ']');
    json_put_cstr(&w, "c", NULL);
    json_end(&w, '}');
    CHECK_STR(buf_str(&out), "{\"a\":\"q\\\"\\\\\\n\\u0001\",\"b\":[-1,0.5,null,true,\"x\xef\xbf\xbdy\",{}],\"c\":null}");
    AUTO(json_doc_freep) json_doc *doc = NULL;
    err e = { 0 };
    CHECK_OK(json_parse(buf_str(&out), &doc, &e), e);
}

/* The writer looks at eight bytes at a time: whatever stands where, each byte is escaped as alone. */
TEST(json_writer_escapes_at_every_place)
{
    for (unsigned c = 0; c < 256; c++) {
        AUTO(buf_done) buf alone = BUF_INIT(1 << 10);
        json_writer one = json_writer_to(&alone);
        char byte = (char)c;
        json_str(&one, str_of(&byte, 1));
        str escaped = str_sub(buf_str(&alone), 1, alone.len - 2);
        for (size_t place = 0; place < 20; place++) {
            AUTO(buf_done) buf want = BUF_INIT(1 << 10);
            AUTO(buf_done) buf got = BUF_INIT(1 << 10);
            char text[20];
            memset(text, 'a', sizeof text);
            text[place] = byte;
            json_writer w = json_writer_to(&got);
            json_begin(&w, '{');
            json_key_str(&w, str_of(text, sizeof text));
            json_str(&w, str_of(text, sizeof text));
            json_end(&w, '}');
            for (int i = 0; i < 2; i++) {
                buf_printf(&want, "%s\"%.*s", i ? ":" : "{", (int)place, "aaaaaaaaaaaaaaaaaaaa");
                buf_append(&want, escaped);
                buf_printf(&want, "%.*s\"%s", (int)(19 - place), "aaaaaaaaaaaaaaaaaaaa", i ? "}" : "");
            }
            CHECK_MSG(str_eq(buf_str(&got), buf_str(&want)), "byte %u at %zu: %s", c, place, buf_cstr(&got));
        }
    }
}
