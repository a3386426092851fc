#include "face/negotiate.h"
#include "face/page.h"
#include "base/test.h"

static const struct {
    const char *what, *header, *coding;
    bool want;
} encodings[] = {
    { "a browser's list names gzip", "gzip, deflate, br, zstd", "gzip", true },
    { "and brotli", "gzip, deflate, br, zstd", "br", true },
    { "no header takes nothing packed", "", "gzip", false },
    { "another coding is another coding", "deflate", "gzip", false },
    { "a name is matched whole", "xgzip, gzipx", "gzip", false },
    { "any case", "GZip", "gzip", true },
    { "weight 0 refuses", "gzip;q=0", "gzip", false },
    { "weight 0.0 with blanks refuses", "gzip ; q=0.0, br", "gzip", false },
    { "a small weight still takes", "gzip;q=0.001", "gzip", true },
    { "the star takes all", "*", "br", true },
    { "the star with 0 takes none", "identity, *;q=0", "br", false },
    { "a name goes before the star", "*, gzip;q=0", "gzip", false },
    { "an unreadable weight counts as named", "gzip;q=high", "gzip", true },
};

TEST(accept_encoding_is_read_as_the_standard_says)
{
    for (size_t i = 0; i < COUNT_OF(encodings); i++)
        CHECK_MSG(negotiate_takes(str_from(encodings[i].header), str_from(encodings[i].coding)) == encodings[i].want,
                  "%s", encodings[i].what);
}

static const struct {
    const char *what, *header;
    bool want;
} tags[] = {
    { "the same tag", "\"abc\"", true },
    { "the same tag, weak", "W/\"abc\"", true },
    { "one of several", "\"x\", W/\"y\" , \"abc\"", true },
    { "another tag", "\"abcd\"", false },
    { "a tag with a comma inside", "\"x,\", \"abc\"", true },
    { "the star is any", " * ", true },
    { "a tag without quotes is none", "abc", false },
    { "an open quote ends the list", "\"abc", false },
    { "nothing", "", false },
};

TEST(if_none_match_is_compared_weakly)
{
    for (size_t i = 0; i < COUNT_OF(tags); i++)
        CHECK_MSG(negotiate_matches(str_from(tags[i].header), STR("\"abc\"")) == tags[i].want, "%s", tags[i].what);
}

static str header_of(const page_answer *p, const char *name)
{
    for (size_t i = 0; i < p->header_count; i++)
        if (str_is(p->headers[i].name, name))
            return p->headers[i].value;
    return STR_EMPTY;
}

static const asset fixture = { "/assets/x-12345678.js", "text/javascript", "\"abc\"", true,
                               { "plain", 5 },          { "gz", 2 },       { "b", 1 } };

TEST(the_smallest_form_a_client_takes_is_sent)
{
    static const struct {
        const char *what, *accept, *body, *coding;
    } rows[] = {
        { "brotli before gzip", "gzip, br", "b", "br" },
        { "gzip alone", "gzip", "gz", "gzip" },
        { "plain for the rest", "", "plain", "" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        page_answer p;
        page_answer_for(&fixture, str_from(rows[i].accept), STR_EMPTY, &p);
        CHECK_MSG(str_is(p.body, rows[i].body) && str_is(header_of(&p, "Content-Encoding"), rows[i].coding), "%s",
                  rows[i].what);
        CHECK_EQ(p.status, 200);
        CHECK_STR(header_of(&p, "ETag"), "W/\"abc\"");
        CHECK_STR(header_of(&p, "Vary"), "Accept-Encoding");
    }
}

TEST(a_known_file_is_not_sent_again)
{
    page_answer p;
    page_answer_for(&fixture, STR("br"), STR("W/\"abc\""), &p);
    CHECK_EQ(p.status, 304);
    CHECK_EQ(p.body.len, 0);
    CHECK_STR(header_of(&p, "Content-Encoding"), "");
}

TEST(only_names_with_a_hash_are_kept_for_ever)
{
    page_answer p;
    page_answer_for(&fixture, STR_EMPTY, STR_EMPTY, &p);
    CHECK_CONTAINS(header_of(&p, "Cache-Control"), "immutable");
    asset index = fixture;
    index.hashed = false;
    page_answer_for(&index, STR_EMPTY, STR_EMPTY, &p);
    CHECK_STR(header_of(&p, "Cache-Control"), "no-cache");
}

TEST(the_policy_allows_nothing_inline_and_nothing_from_elsewhere)
{
    page_answer p;
    page_answer_for(&fixture, STR_EMPTY, STR_EMPTY, &p);
    str csp = header_of(&p, "Content-Security-Policy");
    CHECK_CONTAINS(csp, "default-src 'none'");
    CHECK(str_find(csp, STR("unsafe")) < 0 && str_find(csp, STR("http")) < 0);
    CHECK_STR(header_of(&p, "Referrer-Policy"), "no-referrer");
}

TEST(the_binary_carries_a_page_and_the_api_description)
{
    bool index = false, openapi = false;
    for (size_t i = 0; i < asset_count; i++) {
        CHECK(assets[i].plain.len > 0);
        index |= strcmp(assets[i].path, "/") == 0 &&
                 str_find(str_of(assets[i].plain.at, assets[i].plain.len), STR("<html")) >= 0;
        openapi |= strcmp(assets[i].path, "/api/galen/v1/openapi.json") == 0;
    }
    CHECK(index);
    CHECK(openapi);
}
