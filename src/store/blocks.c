#include "store/blocks.h"
#include <stdatomic.h>
#include <stdio.h>

/* ---- files ---- */

/* A block and its tombstones; the block first: alone they mean nothing. */
static err_kind remove_files(const char *path, err *e)
{
    char beside[FILE_PATH_MAX];
    err_kind k = file_remove(path, e);
    return k || (k = tombstones_path(beside, path, e)) ? k : file_remove(beside, e);
}

static err_kind put_aside(const char *path, err *e)
{
    char aside[FILE_PATH_MAX];
    if (snprintf(aside, sizeof aside, "%s" BLOCK_DAMAGED_SUFFIX, path) >= (int)sizeof aside)
        return err_set(e, ERR_LIMIT, "path too long: \"%.200s…\"", path);
    return file_rename(path, aside, e);
}

static err_kind drop_files(const block *b, err *e)
{
    return atomic_load(&b->damaged) ? put_aside(b->path, e) : remove_files(b->path, e);
}

/* ---- writing ---- */

err_kind blocks_begin(store *s, block_set *set, char path[FILE_PATH_MAX], uint32_t *ret_number, err *e)
{
    char name[40];
    pthread_mutex_lock(&s->blocks_lock);
    *ret_number = set->next_number++;
    pthread_mutex_unlock(&s->blocks_lock);
    snprintf(name, sizeof name, "%08" PRIu32 BLOCK_SUFFIX, *ret_number);
    return file_join(path, set->dir, name, e);
}

static bool replaces(const block *b, uint32_t number)
{
    uint32_t other;
    for (size_t i = 0; block_replaces(b, i, &other); i++)
        if (other == number)
            return true;
    return false;
}

/* Put `b` in its place by number; there is room. The lock is held. */
static void insert(block_set *set, block *b)
{
    size_t at = set->len++;
    for (; at > 0 && set->at[at - 1]->number > b->number; at--)
        set->at[at] = set->at[at - 1];
    set->at[at] = b;
}

/* Take out what `b` stands for, the same number too; it is appended to `gone`, which has room. The lock is held. */
static void take_out(block_set *set, const block *b, block_vec *gone)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->len; i++)
        if (set->at[i]->number == b->number || replaces(b, set->at[i]->number))
            gone->at[gone->len++] = set->at[i];
        else
            set->at[kept++] = set->at[i];
    set->len = kept;
}

/* `b` in, what it stands for out, at one moment. */
static err_kind exchange(store *s, block_set *set, block *b, block_vec *gone, err *e)
{
    pthread_mutex_lock(&s->blocks_lock);
    err_kind k = vec_reserve(gone, set->len + 1) || vec_reserve(set, set->len + 1) ? err_nomem(e) : OK;
    if (!k) {
        take_out(set, b, gone);
        insert(set, b);
    }
    pthread_mutex_unlock(&s->blocks_lock);
    return k;
}

err_kind blocks_show(store *s, block_set *set, const char *path, uint32_t number, err *e)
{
    block_vec gone = { 0 };
    block *b;
    err_kind k = block_open(path, number, &b, e);
    if (k)
        return k;
    if (set == &s->blocks)
        store_saw_block(s, b);
    if ((k = exchange(s, set, b, &gone, e)))
        block_unref(b);
    for (size_t i = 0; i < gone.len; i++)
        (void)drop_files(gone.at[i], NULL); /* the next open finds it replaced and tries again */
    blocks_let_go(&gone);
    return k;
}

err_kind blocks_reopen(store *s, block_set *set, const block *b, err *e)
{
    block_vec gone = { 0 };
    block *anew;
    err_kind k = block_open(b->path, b->number, &anew, e);
    if (!k && (k = exchange(s, set, anew, &gone, e)))
        block_unref(anew);
    blocks_let_go(&gone);
    return k;
}

err_kind blocks_remove(store *s, block_set *set, block *const *gone, size_t n, err *e)
{
    err_kind failed = OK;
    for (size_t g = 0; g < n; g++) {
        pthread_mutex_lock(&s->blocks_lock);
        size_t i = 0;
        while (i < set->len && set->at[i] != gone[g])
            i++;
        bool found = i < set->len;
        if (found)
            vec_remove(set, i);
        pthread_mutex_unlock(&s->blocks_lock);
        if (!found)
            continue;
        err_kind k = drop_files(gone[g], failed ? NULL : e);
        failed = failed ? failed : k;
        block_unref(gone[g]);
    }
    return failed;
}

/* ---- at open ---- */

static bool block_name(str name, uint32_t *ret)
{
    uint64_t n;
    if (!str_ends(name, STR(BLOCK_SUFFIX)) || !str_to_u64(str_sub(name, 0, name.len - strlen(BLOCK_SUFFIX)), &n) || n == 0 || n >= UINT32_MAX)
        return false;
    *ret = (uint32_t)n;
    return true;
}

static void tell(store_recovery *told, const char *what)
{
    size_t used = strlen(told->note);
    (void)!(snprintf(told->note + used, sizeof told->note - used, "%s%.180s", used ? "; " : "", what) < 0); /* what fits */
}

/* What cannot be read must not keep the others from answering. Written by a newer galen it is no damage. */
static void leave_out(const store *s, const char *path, err_kind k, const err *why, store_recovery *told)
{
    tell(told, why->message);
    if (s->read_only || k != ERR_CORRUPT || put_aside(path, NULL))
        return;
    log_error("a block is damaged and was put aside", KV_CSTR("file", path), KV_ERR(why));
}

static err_kind load_one(store *s, block_set *set, const char *name, uint32_t number, store_recovery *told, err *e)
{
    char path[FILE_PATH_MAX];
    block *b;
    err own = { 0 };
    err_kind k = file_join(path, set->dir, name, e);
    if (k)
        return k;
    set->next_number = MAX(set->next_number, number + 1);
    k = block_open(path, number, &b, &own);
    if (k == ERR_NOMEM)
        return err_nomem(e);
    if (k == ERR_NOT_FOUND && s->read_only)
        return OK; /* retention or compaction of the galen that owns the store was faster */
    if (k)
        return leave_out(s, path, k, &own, told), OK;
    if (b->tombstones_lost) {
        tell(told, "the tombstones of a block cannot be read: what was deleted there shows again");
        log_error("tombstones cannot be read: what was deleted shows again", KV_CSTR("block", path));
    }
    if (set == &s->blocks)
        store_saw_block(s, b);
    if (vec_push(set, b)) {
        block_unref(b);
        return err_nomem(e);
    }
    return OK;
}

/* A crash came between the writing of a block and the removal of what it stands for. */
static err_kind drop_replaced(store *s, block_set *set, err *e)
{
    block_vec gone = { 0 };
    err_kind k = vec_reserve(&gone, set->len ? set->len : 1) ? err_nomem(e) : OK;
    for (size_t i = 0; !k && i < set->len; i++)
        for (size_t j = 0; j < set->len; j++)
            if (j != i && replaces(set->at[j], set->at[i]->number)) {
                gone.at[gone.len++] = set->at[i];
                break;
            }
    for (size_t i = 0; i < gone.len; i++) {
        size_t at = 0;
        while (set->at[at] != gone.at[i])
            at++;
        vec_remove(set, at);
        if (!s->read_only)
            (void)remove_files(gone.at[i]->path, NULL);
    }
    blocks_let_go(&gone);
    return k;
}

err_kind blocks_load(store *s, block_set *set, store_recovery *told, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    str *names;
    size_t n;
    if (!file_exists(set->dir))
        return OK;
    err_kind k = file_list(set->dir, &a, &names, &n, e);
    for (size_t i = 0; !k && i < n; i++) {
        uint32_t number;
        if (block_name(names[i], &number))
            k = load_one(s, set, names[i].ptr, number, told, e);
    }
    return k ? k : drop_replaced(s, set, e);
}

void blocks_done(block_set *set)
{
    for (size_t i = 0; i < set->len; i++)
        block_unref(set->at[i]);
    vec_done(set);
}

/* ---- holding ---- */

err_kind blocks_hold(store *s, block_set *set, block_vec *ret, err *e)
{
    pthread_mutex_lock(&s->blocks_lock);
    err_kind k = vec_reserve(ret, ret->len + set->len + 1) ? err_nomem(e) : OK;
    for (size_t i = 0; !k && i < set->len; i++)
        ret->at[ret->len++] = block_ref(set->at[i]);
    pthread_mutex_unlock(&s->blocks_lock);
    return k;
}

void blocks_let_go(block_vec *v)
{
    for (size_t i = 0; i < v->len; i++)
        block_unref(v->at[i]);
    vec_done(v);
}

uint64_t blocks_bytes(store *s, const block_set *set)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&s->blocks_lock);
    for (size_t i = 0; i < set->len; i++)
        sum += set->at[i]->size;
    pthread_mutex_unlock(&s->blocks_lock);
    return sum;
}
