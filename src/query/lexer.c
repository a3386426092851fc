#include "query/lexer.h"
#include "query/tables.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const struct { const char *text; lex_word word; } keywords[] = {
    { "by", WORD_BY }, { "without", WORD_WITHOUT }, { "on", WORD_ON }, { "ignoring", WORD_IGNORING },
    { "group_left", WORD_GROUP_LEFT }, { "group_right", WORD_GROUP_RIGHT }, { "bool", WORD_BOOL },
    { "offset", WORD_OFFSET }, { "start", WORD_START }, { "end", WORD_END }, { "step", WORD_STEP },
    { "range", WORD_RANGE }, { "anchored", WORD_ANCHORED }, { "smoothed", WORD_SMOOTHED }, { "fill", WORD_FILL },
    { "fill_left", WORD_FILL_LEFT }, { "fill_right", WORD_FILL_RIGHT },
};

lexer lexer_init(str text)
{
    return (lexer){ .text = text };
}

static int peek_at(const lexer *l, uint32_t pos)
{
    return pos < l->text.len ? (unsigned char)l->text.ptr[pos] : -1;
}

static int peek(const lexer *l)
{
    return peek_at(l, l->pos);
}

static bool is_word_start(int c) { return c == '_' || (c < 128 && isalpha(c)); }
static bool is_digit(int c) { return c >= '0' && c <= '9'; }
static bool is_word(int c) { return is_word_start(c) || is_digit(c); }
static bool is_blank(int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static lexeme lex_make(const lexer *l, lex_kind kind, uint32_t start)
{
    return (lexeme){ .kind = kind, .span = { start, l->pos }, .text = str_sub(l->text, start, l->pos - start) };
}

/* As Prometheus: an error's place is where the lexeme began. The lexer then stands still at the end. */
static lexeme PRINTF_LIKE(3, 4) lex_fail(lexer *l, uint32_t start, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(l->message, sizeof l->message, fmt, args);
    va_end(args);
    l->pos = (uint32_t)l->text.len;
    l->in_braces = l->in_brackets = false;
    l->paren_depth = 0;
    return (lexeme){ .kind = LEX_ERROR, .span = { start, l->pos }, .text = str_from(l->message) };
}

/* The character at `pos` as Go's %q prints a rune: 'x'. Invalid UTF-8 shows as the replacement character. */
static const char *quote_char(const lexer *l, uint32_t pos, char out[16])
{
    int c = peek_at(l, pos);
    if (c < 0)
        return "'\\x00'";
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    str s = str_sub(l->text, pos, n);
    if (!str_utf8_valid(s))
        return "'\xef\xbf\xbd'";
    if (c == '\'' || c == '\\')
        snprintf(out, 16, "'\\%c'", c);
    else if (c < 32 || c == 127)
        snprintf(out, 16, "'\\x%02x'", (unsigned)c);
    else
        snprintf(out, 16, "'%" STR_FMT "'", STR_ARG(s));
    return out;
}

static void skip_blanks(lexer *l)
{
    while (is_blank(peek(l)) || peek(l) == '#') {
        if (peek(l) == '#')
            while (peek(l) >= 0 && peek(l) != '\n')
                l->pos++;
        else
            l->pos++;
    }
}

/* ---- strings ---- */

static const char simple_escapes[] = "abfnrtv\\";
static const char simple_values[] = "\a\b\f\n\r\t\v\\";

/* One escape behind its backslash. Returns what is wrong with it or NULL; *ret_code is a byte, or a code
 * point where *ret_wide. */
static const char *scan_escape(const lexer *l, uint32_t *pos, int quote, uint32_t *ret_code, bool *ret_wide)
{
    int c = peek_at(l, *pos);
    const char *simple = c > 0 ? strchr(simple_escapes, c) : NULL;
    *ret_wide = false;
    if (c < 0)
        return "escape sequence not terminated";
    if (simple || c == quote) {
        *ret_code = simple ? (unsigned char)simple_values[simple - simple_escapes] : (unsigned)quote;
        *pos += 1;
        return NULL;
    }
    unsigned base = 16, digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0, max = c == 'x' ? 255 : 0x10ffff;
    if (c >= '0' && c <= '7')
        base = 8, digits = 3, max = 255;
    else if (!digits)
        return "unknown escape sequence";
    else
        *pos += 1;
    *ret_wide = c == 'u' || c == 'U';
    uint64_t x = 0;
    for (unsigned i = 0; i < digits; i++, *pos += 1) {
        int d = hex_digit(peek_at(l, *pos));
        if (peek_at(l, *pos) < 0)
            return "escape sequence not terminated";
        if (d < 0 || (unsigned)d >= base)
            return "illegal character in escape sequence";
        x = x * base + (unsigned)d;
    }
    if (x > max || (*ret_wide && x >= 0xd800 && x < 0xe000))
        return "escape sequence is an invalid Unicode code point";
    *ret_code = (uint32_t)x;
    return NULL;
}

static lexeme lex_string(lexer *l, uint32_t start, int quote)
{
    char shown[16];
    for (l->pos = start + 1;;) {
        int c = peek(l);
        if (c < 0 || c == '\n')
            return lex_fail(l, start, "unterminated quoted string");
        l->pos++;
        if (c == quote)
            return lex_make(l, LEX_STRING, start);
        if (c == '\\') {
            uint32_t code, at = l->pos;
            bool wide;
            const char *wrong = scan_escape(l, &l->pos, quote, &code, &wide);
            if (wrong && str_is(str_from(wrong), "unknown escape sequence"))
                return lex_fail(l, start, "%s U+%04X %s", wrong, (unsigned)peek_at(l, at), quote_char(l, at, shown));
            if (wrong)
                return lex_fail(l, start, "%s", wrong);
        }
    }
}

static lexeme lex_raw_string(lexer *l, uint32_t start)
{
    for (l->pos = start + 1; peek(l) >= 0; l->pos++)
        if (peek(l) == '`') {
            l->pos++;
            return lex_make(l, LEX_STRING, start);
        }
    return lex_fail(l, start, "unterminated raw string");
}

static size_t utf8_put(char *out, uint32_t c)
{
    if (c < 0x80)
        return out[0] = (char)c, 1;
    if (c < 0x800)
        return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)), out[2] = (char)(0x80 | (c & 63)), 3;
    out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63)), out[3] = (char)(0x80 | (c & 63));
    return 4;
}

str lexer_unquote(str quoted, arena *a)
{
    int quote = (unsigned char)quoted.ptr[0];
    str inner = str_sub(quoted, 1, quoted.len - 2);
    if (quote == '`')
        return arena_str(a, inner);
    lexer l = lexer_init(inner);
    char *out = arena_alloc(a, inner.len + 1); /* an escape is never shorter than what it stands for */
    size_t n = 0;
    if (!out)
        return STR_EMPTY;
    for (int c; (c = peek(&l)) >= 0;) {
        uint32_t code;
        bool wide;
        l.pos++;
        if (c != '\\' || scan_escape(&l, &l.pos, quote, &code, &wide))
            out[n++] = (char)c;
        else if (wide)
            n += utf8_put(out + n, code);
        else
            out[n++] = (char)code;
    }
    return (str){ out, n };
}

/* ---- numbers and durations ---- */

/* digits with single underscores between them, `.`, exponent; or 0x… Returns the offset behind it. */
static uint32_t scan_number(const lexer *l, uint32_t pos)
{
    if (peek_at(l, pos) == '0' && (peek_at(l, pos + 1) | 32) == 'x') {
        for (pos += 2; hex_digit(peek_at(l, pos)) >= 0 || peek_at(l, pos) == '_';)
            pos++;
        return pos;
    }
    while (is_digit(peek_at(l, pos)) || peek_at(l, pos) == '_')
        pos++;
    if (peek_at(l, pos) == '.')
        for (pos++; is_digit(peek_at(l, pos)) || peek_at(l, pos) == '_';)
            pos++;
    if ((peek_at(l, pos) | 32) == 'e') {
        uint32_t behind = pos + 1;
        if (peek_at(l, behind) == '+' || peek_at(l, behind) == '-')
            behind++;
        if (is_digit(peek_at(l, behind)))
            for (pos = behind; is_digit(peek_at(l, pos)) || peek_at(l, pos) == '_';)
                pos++;
    }
    return pos;
}

/* ([0-9]+ unit)+ */
static bool scan_duration(const lexer *l, uint32_t pos, uint32_t *ret_end)
{
    do {
        if (!is_digit(peek_at(l, pos)))
            return false;
        while (is_digit(peek_at(l, pos)))
            pos++;
        int c = peek_at(l, pos);
        if (c < 0 || !strchr("smhdwy", c))
            return false;
        pos += c == 'm' && peek_at(l, pos + 1) == 's' ? 2 : 1;
    } while (is_word(peek_at(l, pos)));
    *ret_end = pos;
    return true;
}

static lexeme lex_number(lexer *l, uint32_t start)
{
    uint32_t end = scan_number(l, start);
    double number;
    if (!is_word(peek_at(l, end)) && lexer_number(str_sub(l->text, start, end - start), &number)) {
        l->pos = end;
        return lex_make(l, LEX_NUMBER, start);
    }
    if (scan_duration(l, start, &end)) {
        l->pos = end;
        return lex_make(l, LEX_DURATION, start);
    }
    while (is_word(peek_at(l, end)))
        end++;
    return lex_fail(l, start, "bad number or duration syntax: \"%" STR_FMT "\"",
                    STR_ARG(str_sub(l->text, start, MIN(end - start, 60u))));
}

static bool number_in_base(str digits, unsigned base, double *ret)
{
    double v = 0;
    for (size_t i = 0; i < digits.len; i++) {
        int d = hex_digit((unsigned char)digits.ptr[i]);
        if (d < 0 || (unsigned)d >= base)
            return false;
        v = v * base + d; /* exact up to 2^53, as ParseInt followed by float64() is up to 2^63 */
    }
    *ret = v;
    return digits.len > 0;
}

bool lexer_number(str text, double *ret)
{
    char plain[256];
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool underscore = text.ptr[i] == '_';
        bool digits_around = i > 0 && i + 1 < text.len && text.ptr[i - 1] != '_' && text.ptr[i - 1] != '.' &&
                             text.ptr[i + 1] != '_' && text.ptr[i + 1] != '.' && (text.ptr[i + 1] | 32) != 'e';
        if ((underscore && !digits_around) || n >= sizeof plain)
            return false;
        if (!underscore)
            plain[n++] = text.ptr[i];
    }
    str s = str_of(plain, n);
    if (n > 2 && plain[0] == '0' && (plain[1] | 32) == 'x')
        return number_in_base(str_skip(s, 2), 16, ret);
    if (n > 1 && plain[0] == '0' && number_in_base(str_skip(s, 1), 8, ret))
        return true; /* Go's ParseInt(s, 0, 64): 017 is 15, and 08 is left to ParseFloat */
    return str_to_double(s, ret);
}

/* ---- words and the rest ---- */

static lexeme lex_word_or_keyword(lexer *l, uint32_t start)
{
    bool colon = false;
    while (is_word(peek(l)) || (peek(l) == ':' && !l->in_brackets))
        colon |= l->text.ptr[l->pos++] == ':';
    lexeme t = lex_make(l, colon ? LEX_METRIC : LEX_IDENTIFIER, start);
    if (colon)
        return t;
    if (str_eq_nocase(t.text, STR("inf")) || str_eq_nocase(t.text, STR("nan")))
        t.kind = LEX_NUMBER;
    else if ((t.aggregate = aggregate_find(t.text)))
        t.kind = LEX_AGGREGATOR;
    else if ((t.op = binop_find(t.text)))
        t.kind = LEX_OPERATOR;
    for (size_t i = 0; i < COUNT_OF(keywords); i++)
        if (str_eq_nocase(t.text, str_from(keywords[i].text)))
            t.kind = LEX_KEYWORD, t.word = keywords[i].word;
    return t;
}

static lexeme lex_one(lexer *l, uint32_t start, lex_kind kind, uint32_t n)
{
    l->pos = start + n;
    return lex_make(l, kind, start);
}

static lexeme lex_in_braces(lexer *l, uint32_t start)
{
    int c = peek(l), next = peek_at(l, start + 1);
    char shown[16];
    switch (c) {
    case -1: return lex_fail(l, start, "unexpected end of input inside braces");
    case ',': return lex_one(l, start, LEX_COMMA, 1);
    case '"':
    case '\'': return lex_string(l, start, c);
    case '`': return lex_raw_string(l, start);
    case '=': return next == '~' ? lex_one(l, start, LEX_EQL_REGEX, 2) : lex_one(l, start, LEX_EQL, 1);
    case '!':
        if (next == '~')
            return lex_one(l, start, LEX_NEQ_REGEX, 2);
        if (next != '=')
            return lex_fail(l, start, "unexpected character after '!' inside braces: %s", quote_char(l, start + 1, shown));
        lexeme t = lex_one(l, start, LEX_OPERATOR, 2);
        t.op = &binop_rows[OP_NE];
        return t;
    case '{': return lex_fail(l, start, "unexpected left brace '{'");
    case '}':
        l->in_braces = false;
        return lex_one(l, start, LEX_RIGHT_BRACE, 1);
    default: break;
    }
    if (!is_word_start(c))
        return lex_fail(l, start, "unexpected character inside braces: %s", quote_char(l, start, shown));
    while (is_word(peek(l)))
        l->pos++;
    return lex_make(l, LEX_IDENTIFIER, start);
}

static lexeme lex_operator(lexer *l, uint32_t start)
{
    char shown[16];
    for (uint32_t n = 2; n > 0; n--) {
        str text = str_sub(l->text, start, n);
        const binop_row *op = text.len == n ? binop_find(text) : NULL;
        if (op && !isalpha((unsigned char)op->text[0])) {
            lexeme t = lex_one(l, start, LEX_OPERATOR, n);
            t.op = op;
            return t;
        }
    }
    int c = peek(l);
    if (c == '=' && peek_at(l, start + 1) != '~')
        return lex_one(l, start, LEX_EQL, 1);
    if (c == '=' || c == '!')
        return lex_fail(l, start, "unexpected character after '%c': %s", c, quote_char(l, start + 1, shown));
    return lex_fail(l, start, "unexpected character: %s", quote_char(l, start, shown));
}

static lexeme lex_end(lexer *l, uint32_t start)
{
    if (l->paren_depth != 0)
        return lex_fail(l, start, "unclosed left parenthesis");
    if (l->in_brackets)
        return lex_fail(l, start, "unclosed left bracket");
    return lex_make(l, LEX_EOF, start);
}

static lexeme lex_bracket(lexer *l, uint32_t start, int c)
{
    if (l->in_brackets == (c == '['))
        return lex_fail(l, start, "unexpected %s bracket '%c'", c == '[' ? "left" : "right", c);
    l->in_brackets = c == '[';
    l->got_colon = false;
    return lex_one(l, start, c == '[' ? LEX_LEFT_BRACKET : LEX_RIGHT_BRACKET, 1);
}

static lexeme lex_colon(lexer *l, uint32_t start)
{
    if (!l->in_brackets)
        return lex_word_or_keyword(l, start);
    if (l->got_colon)
        return lex_fail(l, start, "unexpected colon ':'");
    l->got_colon = true;
    return lex_one(l, start, LEX_COLON, 1);
}

lexeme lexer_next(lexer *l)
{
    skip_blanks(l);
    uint32_t start = l->pos;
    int c = peek(l);
    if (l->in_braces)
        return lex_in_braces(l, start);
    switch (c) {
    case -1: return lex_end(l, start);
    case ',': return lex_one(l, start, LEX_COMMA, 1);
    case '@': return lex_one(l, start, LEX_AT, 1);
    case '(':
        l->paren_depth++;
        return lex_one(l, start, LEX_LEFT_PAREN, 1);
    case ')':
        if (l->paren_depth-- == 0)
            return lex_fail(l, start, "unexpected right parenthesis ')'");
        return lex_one(l, start, LEX_RIGHT_PAREN, 1);
    case '{':
        l->in_braces = true;
        return lex_one(l, start, LEX_LEFT_BRACE, 1);
    case '[':
    case ']': return lex_bracket(l, start, c);
    case ':': return lex_colon(l, start);
    case '"':
    case '\'': return lex_string(l, start, c);
    case '`': return lex_raw_string(l, start);
    default: break;
    }
    if (is_digit(c) || (c == '.' && is_digit(peek_at(l, start + 1))))
        return lex_number(l, start);
    if (is_word_start(c))
        return lex_word_or_keyword(l, start);
    return lex_operator(l, start);
}

void lexeme_describe(const lexeme *t, char *out, size_t cap)
{
    char quoted[160];
    AUTO(buf_done) buf text = BUF_INIT(4096);
    ast_quote(str_sub(t->text, 0, 120), &text);
    str_copy(quoted, sizeof quoted, buf_str(&text));
    switch (t->kind) {
    case LEX_EOF: snprintf(out, cap, "end of input"); return;
    case LEX_ERROR: snprintf(out, cap, "%" STR_FMT, STR_ARG(t->text)); return;
    case LEX_IDENTIFIER: snprintf(out, cap, "identifier %s", quoted); return;
    case LEX_METRIC: snprintf(out, cap, "metric identifier %s", quoted); return;
    case LEX_STRING: snprintf(out, cap, "string %s", quoted); return;
    case LEX_NUMBER: snprintf(out, cap, "number %s", quoted); return;
    case LEX_DURATION: snprintf(out, cap, "duration %s", quoted); return;
    case LEX_KEYWORD: snprintf(out, cap, "<%" STR_FMT ">", STR_ARG(t->text)); return;
    case LEX_AGGREGATOR: snprintf(out, cap, "<aggr:%" STR_FMT ">", STR_ARG(t->text)); return;
    case LEX_OPERATOR:
    case LEX_EQL_REGEX:
    case LEX_NEQ_REGEX: snprintf(out, cap, "<op:%" STR_FMT ">", STR_ARG(t->text)); return;
    default: snprintf(out, cap, "%s", quoted); return;
    }
}
