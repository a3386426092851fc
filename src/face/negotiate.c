#include "face/negotiate.h"

/* "q=0", "q=0.0": refused. Anything unreadable counts as 1, the client did name the coding. */
static bool weight_is_zero(str parameters)
{
    str one;
    while (str_split(&parameters, ';', &one)) {
        double q = 1;
        one = str_trim(one);
        if (one.len > 2 && (one.ptr[0] == 'q' || one.ptr[0] == 'Q') && one.ptr[1] == '=' &&
            str_to_double(str_skip(one, 2), &q))
            return q <= 0;
    }
    return false;
}

bool negotiate_takes(str accept_encoding, str coding)
{
    bool any = false;
    str item;

    while (str_split(&accept_encoding, ',', &item)) {
        str name = STR_EMPTY;
        str_split(&item, ';', &name);
        name = str_trim(name);
        if (str_eq_nocase(name, coding))
            return !weight_is_zero(item);
        if (str_is(name, "*"))
            any = !weight_is_zero(item);
    }
    return any;
}

/* Takes the next entity tag off the front, without W/; false at the end or where the list is broken. */
static bool next_tag(str *rest, str *ret_tag)
{
    while (rest->len && (rest->ptr[0] == ' ' || rest->ptr[0] == '\t' || rest->ptr[0] == ','))
        *rest = str_skip(*rest, 1);
    if (str_starts(*rest, STR("W/")))
        *rest = str_skip(*rest, 2);
    if (rest->len < 2 || rest->ptr[0] != '"')
        return false;
    ptrdiff_t end = str_find_char(str_skip(*rest, 1), '"');
    if (end < 0)
        return false;
    *ret_tag = str_sub(*rest, 0, (size_t)end + 2);
    *rest = str_skip(*rest, (size_t)end + 2);
    return true;
}

bool negotiate_matches(str if_none_match, str etag)
{
    str tag;

    if (str_is(str_trim(if_none_match), "*"))
        return true;
    while (next_tag(&if_none_match, &tag))
        if (str_eq(tag, etag))
            return true;
    return false;
}
