/* net/http_client.c - outbound HTTP: libcurl's multi interface, driven by the loop.
 *
 * libcurl tells which sockets it waits on (on_socket) and when it wants to be woken (on_timer); the loop tells it
 * what happened (curl_multi_socket_action). Two rules of libcurl shape this file: while it calls us back, no
 * transfer may be added or removed, and a finished transfer is reported only by curl_multi_info_read. So whatever
 * callers start or cancel meanwhile is noted, and client_settle() does it when libcurl has returned.
 *
 *   QUEUED --added--> RUNNING --message--> done() --> freed
 *      |                 |
 *      +---- cancel -----+---> CANCELED --> freed, without done() */
#include "net/http_fetch.h"

#include <pthread.h>

#define CLIENT_MAX_IDLE_CONNECTIONS 4096L /* as many targets keep theirs between two scrapes */
#define CLIENT_SPARE_BYTES (1u << 20) /* the memory of a larger answer is given back */

struct client_socket {
    uv_poll_t poll;
    http_client *client;
    client_socket *prev, *next;
    curl_socket_t fd;
};

/* ---- a fetch's end ---- */

static void fetch_unlink(http_fetch *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        f->client->fetches = f->next;
    if (f->next)
        f->next->prev = f->prev;
}

static void spare_put(http_client *c, buf *b)
{
    if (b->cap > c->spare.cap && b->cap <= CLIENT_SPARE_BYTES) {
        buf before = c->spare;
        c->spare = *b;
        *b = before;
    }
    buf_done(b);
}

buf http_client_spare(http_client *c, size_t max)
{
    buf b = c->spare;
    c->spare = (buf){ 0 };
    b.max = max;
    buf_reset(&b);
    return b;
}

/* Not while libcurl calls us. */
static void fetch_free(http_fetch *f)
{
    if (f->added)
        curl_multi_remove_handle(f->client->multi, f->easy);
    fetch_unlink(f);
    curl_easy_cleanup(f->easy);
    curl_slist_free_all(f->fields);
    spare_put(f->client, &f->body);
    buf_done(&f->head);
    mem_free(f);
}

/* ---- a fetch's message ---- */

static void fetch_report(http_fetch *f, CURLcode code)
{
    http_response res = { 0 };
    const char *type = NULL, *url = NULL;
    long status = 0;

    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(f->easy, CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(f->easy, CURLINFO_CONNECT_TIME, &res.connect_s);
    curl_easy_getinfo(f->easy, CURLINFO_STARTTRANSFER_TIME, &res.first_byte_s);
    curl_easy_getinfo(f->easy, CURLINFO_TOTAL_TIME, &res.total_s);
    res.kind = http_fetch_error(f, code, &res.error);
    res.status = (int)status;
    res.content_type = str_from(type);
    res.effective_url = str_from(url);
    res.body = buf_str(&f->body);
    res.head = buf_str(&f->head);
    f->state = FETCH_REPORTING;
    f->done(f->ctx, &res);
    fetch_free(f);
}

static void client_reap(http_client *c)
{
    CURLMsg *message;
    int left;

    while (!c->closing && (message = curl_multi_info_read(c->multi, &left))) {
        http_fetch *f = NULL;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &f);
        if (f->state == FETCH_CANCELED)
            fetch_free(f);
        else
            fetch_report(f, code);
    }
}

/* ---- settling what was asked for while libcurl was on the stack ---- */

static void fetch_add(http_fetch *f)
{
    f->state = FETCH_RUNNING;
    CURLMcode code = curl_multi_add_handle(f->client->multi, f->easy);
    f->added = code == CURLM_OK;
    if (!f->added)
        fetch_report(f, CURLE_OUT_OF_MEMORY);
}

static void client_drop(http_client *c);

static void client_settle(http_client *c)
{
    if (c->inside)
        return;
    c->inside++;
    do {
        c->unsettled = false;
        client_reap(c);
        for (http_fetch *f = c->fetches, *next; f && !c->closing; f = next) {
            next = f->next;
            if (f->state == FETCH_CANCELED)
                fetch_free(f);
            else if (f->state == FETCH_QUEUED)
                fetch_add(f);
        }
    } while (c->unsettled && !c->closing);
    c->inside--;
    if (c->closing)
        client_drop(c);
}

static void client_act(http_client *c, curl_socket_t fd, int events)
{
    int running;

    if (c->closing)
        return;
    c->inside++;
    curl_multi_socket_action(c->multi, fd, events, &running);
    c->inside--;
    client_settle(c);
}

/* ---- the loop's side ---- */

static void socket_ready(uv_poll_t *poll, int status, int events)
{
    client_socket *s = poll->data;
    int what = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

    client_act(s->client, s->fd, status < 0 ? CURL_CSELECT_ERR : what);
}

static void timer_ready(uv_timer_t *timer) { client_act(timer->data, CURL_SOCKET_TIMEOUT, 0); }

static void handle_closed(http_client *c)
{
    if (--c->open_handles == 0)
        mem_free(c);
}

static void socket_closed(uv_handle_t *handle)
{
    client_socket *s = handle->data;
    http_client *c = s->client;

    mem_free(s);
    handle_closed(c);
}

static void timer_closed(uv_handle_t *handle) { handle_closed(handle->data); }

static void socket_close(client_socket *s)
{
    if (s->prev)
        s->prev->next = s->next;
    else
        s->client->sockets = s->next;
    if (s->next)
        s->next->prev = s->prev;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, socket_closed);
}

static client_socket *socket_open(http_client *c, curl_socket_t fd)
{
    client_socket *s = mem_zalloc(sizeof *s);

    if (!s)
        return NULL;
    if (uv_poll_init_socket(c->loop, &s->poll, fd)) {
        mem_free(s);
        return NULL;
    }
    s->poll.data = s;
    s->client = c;
    s->fd = fd;
    s->next = c->sockets;
    if (s->next)
        s->next->prev = s;
    c->sockets = s;
    c->open_handles++;
    return s;
}

/* libcurl: "tell me when this socket can …". -1 makes it fail the transfers that need it. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *client, void *socket)
{
    http_client *c = client;
    client_socket *s = socket;

    UNUSED(easy);
    if (what == CURL_POLL_REMOVE) {
        if (s)
            socket_close(s);
        return 0;
    }
    if (!s && !(s = socket_open(c, fd)))
        return -1;
    curl_multi_assign(c->multi, fd, s);
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&s->poll, events, socket_ready) ? -1 : 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *client)
{
    http_client *c = client;

    UNUSED(multi);
    if (timeout_ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, timer_ready, (uint64_t)timeout_ms, 0);
    return 0;
}

/* ---- the door ---- */

static void curl_start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

err_kind http_client_open(uv_loop_t *loop, http_client **ret, err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    http_client *c = mem_zalloc(sizeof *c);

    pthread_once(&once, curl_start);
    if (!c)
        return err_nomem(e);
    c->multi = curl_multi_init();
    if (!c->multi) {
        mem_free(c);
        return err_nomem(e);
    }
    c->loop = loop;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, CLIENT_MAX_IDLE_CONNECTIONS);
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    c->open_handles = 1;
    *ret = c;
    return OK;
}

/* The polls go before libcurl closes their sockets: epoll must not hold a number that means another file. */
static void client_drop(http_client *c)
{
    if (!c->multi)
        return;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, NULL);
    while (c->sockets)
        socket_close(c->sockets);
    while (c->fetches)
        fetch_free(c->fetches);
    curl_multi_cleanup(TAKE(c->multi));
    buf_done(&c->spare);
    uv_close((uv_handle_t *)&c->timer, timer_closed);
}

void http_client_close(http_client *c)
{
    if (!c || c->closing)
        return;
    c->closing = true;
    if (!c->inside)
        client_drop(c);
}

err_kind http_fetch_start(http_client *c, const http_fetch_options *o, http_fetch **ret, err *e)
{
    http_fetch *f = c->closing ? NULL : mem_zalloc(sizeof *f);

    if (!f)
        return c->closing ? err_set(e, ERR_CANCELED, "could not fetch: the client is closing") : err_nomem(e);
    f->client = c;
    f->next = c->fetches;
    if (f->next)
        f->next->prev = f;
    c->fetches = f;
    err_kind kind = http_fetch_prepare(f, o, e);
    if (!kind && !c->inside) {
        f->state = FETCH_RUNNING;
        f->added = curl_multi_add_handle(c->multi, f->easy) == CURLM_OK;
        kind = f->added ? OK : err_nomem(e);
    }
    if (kind) {
        fetch_free(f);
        return kind;
    }
    c->unsettled = true;
    if (ret)
        *ret = f;
    return OK;
}

void http_fetch_cancel(http_fetch *f)
{
    if (!f || f->state == FETCH_REPORTING)
        return;
    f->state = FETCH_CANCELED;
    if (f->client->inside)
        f->client->unsettled = true;
    else
        fetch_free(f);
}
