// base/cxx.cc - simdjson, RE2 and <charconv> behind C functions (base/cxx.h). See docs/decisions/0002.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>
#include <re2/re2.h>
#include <simdjson.h>

// base.h's C idioms (compound literals, typeof) are not C++; only these shapes are needed here.
extern "C" {
typedef struct str { const char *ptr; size_t len; } str;
typedef enum cxx_json_error { CXX_JSON_OK, CXX_JSON_NOMEM, CXX_JSON_BAD } cxx_json_error;

size_t cxx_format_double(char *out, size_t cap, double v, bool scientific)
{
    auto r = std::to_chars(out, out + cap, v, scientific ? std::chars_format::scientific : std::chars_format::fixed);
    return r.ec == std::errc() ? static_cast<size_t>(r.ptr - out) : 0;
}

bool cxx_parse_double(const char *ptr, size_t len, double *ret)
{
    double v = 0;
    auto r = std::from_chars(ptr, ptr + len, v);
    if (r.ptr != ptr + len || r.ec == std::errc::invalid_argument)
        return false;
    if (r.ec == std::errc::result_out_of_range) { // too large or too small: strtod knows which
        char text[512];
        if (len >= sizeof text)
            return false;
        memcpy(text, ptr, len);
        text[len] = '\0';
        v = strtod(text, nullptr);
    }
    *ret = v;
    return true;
}

void *cxx_regex_new(const char *pattern, size_t len, char *ret_error, size_t error_cap, bool *ret_too_large)
{
    *ret_too_large = false;
    try {
        RE2::Options o;
        o.set_log_errors(false);
        o.set_dot_nl(true);
        o.set_max_mem(8 << 20);
        auto *re = new RE2(re2::StringPiece(pattern, len), o);
        if (re->ok())
            return re;
        *ret_too_large = re->error_code() == RE2::ErrorPatternTooLarge;
        snprintf(ret_error, error_cap, "%s", re->error().c_str());
        delete re;
    } catch (const std::exception &x) {
        snprintf(ret_error, error_cap, "%s", x.what());
        *ret_too_large = true;
    }
    return nullptr;
}

void cxx_regex_free(void *re) { delete static_cast<RE2 *>(re); }

bool cxx_regex_match(const void *re, const char *text, size_t len, bool anchored, str *groups, size_t n)
{
    constexpr size_t max = 65;
    re2::StringPiece found[max];
    if (n > max)
        n = max;
    re2::StringPiece whole(text ? text : "", len);
    auto how = anchored ? RE2::ANCHOR_BOTH : RE2::UNANCHORED;
    if (!static_cast<const RE2 *>(re)->Match(whole, 0, len, how, n ? found : nullptr, static_cast<int>(n)))
        return false;
    for (size_t i = 0; i < n; i++)
        groups[i] = str{ found[i].data(), found[i].size() };
    return true;
}

size_t cxx_regex_groups(const void *re) { return static_cast<size_t>(static_cast<const RE2 *>(re)->NumberOfCapturingGroups()); }

int cxx_regex_group_by_name(const void *re, const char *name, size_t len)
{
    const auto &groups = static_cast<const RE2 *>(re)->NamedCapturingGroups();
    for (const auto &g : groups)
        if (g.first.size() == len && memcmp(g.first.data(), name, len) == 0)
            return g.second;
    return -1;
}

struct json_document {
    simdjson::dom::parser parser; // owns the document of its last parse
};

void *cxx_json_new(const char *text, size_t len, size_t max_depth, cxx_json_error *ret, char *ret_error, size_t cap)
{
    auto *d = new (std::nothrow) json_document;
    if (!d)
        return *ret = CXX_JSON_NOMEM, nullptr;
    simdjson::error_code code = d->parser.allocate(len < 64 ? 64 : len, max_depth);
    if (!code)
        code = d->parser.parse(text, len, true).error();
    if (!code)
        return *ret = CXX_JSON_OK, d;
    delete d;
    *ret = code == simdjson::MEMALLOC ? CXX_JSON_NOMEM : CXX_JSON_BAD;
    snprintf(ret_error, cap, "%s", simdjson::error_message(code));
    return nullptr;
}

void cxx_json_free(void *doc) { delete static_cast<json_document *>(doc); }
const uint64_t *cxx_json_tape(const void *doc) { return static_cast<const json_document *>(doc)->parser.doc.tape.get(); }
const uint8_t *cxx_json_strings(const void *doc) { return static_cast<const json_document *>(doc)->parser.doc.string_buf.get(); }
}
