/* One client. Both ends are watched for edges, once and for all, and every event moves what it can: bytes of the client
 * to the front, and of the front to the client. Nothing is read for which there is no room, so a client that takes
 * nothing stops its own run's output, and nothing grows. */
#include "tls.h"

#include "log.h"
#include "scope.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    RECORD_BYTES = 16384, /* the most that a TLS record holds */
    TURNS = 16,           /* records in each direction before others have their turn */
};

static uint8_t record[RECORD_BYTES];

static void link_ready(struct server *server, struct watch *watch, uint32_t events)
{
    struct end *end = (struct end *)watch;
    struct link *link = end->link;
    if (link->dead)
        return;
    if (end == &link->client && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        link->gone = true;
    if (end == &link->front && events & (EPOLLHUP | EPOLLERR))
        link->front_deaf = true;
    /* Its last bytes may wait behind a record that the client does not take: that has a deadline from now on. */
    if (end == &link->front && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) && link->phase == PHASE_OPEN)
        server_phase(server, link, PHASE_FLUSHING);
    link_move(server, link);
}

static int session_open(struct server *server, struct link *link)
{
    static const unsigned char http[] = "http/1.1";
    static const gnutls_datum_t protocol = {(unsigned char *)(uintptr_t)http, sizeof http - 1};
    if (gnutls_init(&link->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL))
        return -1;
    link->credentials = credentials_share(server->credentials);
    gnutls_transport_set_int(link->session, link->client.fd);
    /* Who speaks only another protocol (HTTP/2) is told so in the handshake. */
    if (gnutls_priority_set(link->session, server->priorities) ||
        gnutls_credentials_set(link->session, GNUTLS_CRD_CERTIFICATE, link->credentials->certificate) ||
        gnutls_session_ticket_enable_server(link->session, &server->ticket_key) ||
        gnutls_alpn_set_protocols(link->session, &protocol, 1, GNUTLS_ALPN_MANDATORY))
        return -1;
    return 0;
}

void link_start(struct server *server, int fd, const struct sockaddr_storage *address)
{
    struct link *link = calloc(1, sizeof *link);
    if (!link) {
        close(fd);
        return;
    }
    link->client = (struct end){{link_ready}, link, fd};
    link->front = (struct end){{link_ready}, link, -1};
    link->offered = -1;
    link->address = *address;
    server->links++;
    server_join(server, link);
    if (session_open(server, link) ||
        server_watch(server, fd, &link->client.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET))
        link_close(server, link);
    else
        link_move(server, link);
}

void link_close(struct server *server, struct link *link)
{
    if (link->dead)
        return;
    link->dead = true;
    server_forget(server, link);
    server->offered -= link->offered >= 0;
    drop_fd(&link->client.fd);
    drop_fd(&link->front.fd);
    drop_fd(&link->offered);
    if (link->session)
        gnutls_deinit(link->session);
    credentials_leave(take(link->credentials));
    free(take(link->rest));
    server->links--;
    if (!link->queued) { /* else the round that it waits for buries it */
        link->next = server->graveyard;
        server->graveyard = link;
    }
}

/* ---- the handshake ---- */

/* Everything is said: what still comes is read and dropped until the client ends, or for a while. */
static void linger(struct server *server, struct link *link)
{
    shutdown(link->client.fd, SHUT_WR);
    server_phase(server, link, PHASE_LINGERING);
}

/* There is no session, or none any more. */
static void give_up(struct server *server, struct link *link)
{
    link->given_up = true;
    linger(server, link);
}

/* A client that speaks plain HTTP here is told so in its own language. */
static void refuse_plain(struct server *server, struct link *link)
{
    static const char body[] = "{\"error\":\"this address speaks TLS: use https:// in its URL\"}";
    char answer[256];
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          sizeof body - 1, body);
    if (send(link->client.fd, answer, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        link_close(server, link);
    else
        give_up(server, link);
}

/* Returns false where it is to go no further: nothing has come, or it was no TLS. A record of a handshake begins with
 * the byte 22, and a method of HTTP with a letter. */
static bool greet(struct server *server, struct link *link)
{
    uint8_t first;
    ssize_t length = recv(link->client.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) {
        link_close(server, link);
        return false;
    }
    if (length < 0)
        return false;
    link->greeted = true;
    if (first >= 'A' && first <= 'z') {
        refuse_plain(server, link);
        return false;
    }
    return true;
}

/* Gives the front its end. Returns false while there is no room for it, or when the link is closed. */
static bool hand_over(struct server *server, struct link *link)
{
    struct wire_message message = {.type = WIRE_CLIENT, .fd_count = 1, .client.address = link->address};
    bool waited = link->offered >= 0;
    int pair[2];
    if (!waited) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair)) {
            log_event(LOG_WARNING, "no descriptors for a client's connection", log_text("reason", strerror(errno)));
            link_close(server, link);
            return false;
        }
        link->front.fd = pair[0];
        link->offered = pair[1];
        server->offered++;
    }
    message.fds[0] = link->offered;
    int result = wire_send(server->handover, &message);
    if (result == WIRE_AGAIN)
        return false;
    server->offered--;
    drop_fd(&link->offered);
    if (result != WIRE_OK ||
        server_watch(server, link->front.fd, &link->front.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) {
        link_close(server, link);
        return false;
    }
    server_phase(server, link, PHASE_OPEN);
    return true;
}

static bool shake_hands(struct server *server, struct link *link)
{
    if (link->front.fd < 0) {
        if (!link->greeted && !greet(server, link))
            return false;
        int result = gnutls_handshake(link->session);
        if (result < 0 && !gnutls_error_is_fatal(result))
            return false;
        if (result < 0) {
            log_event(LOG_DEBUG, "a TLS handshake failed", log_text("reason", gnutls_strerror(result)));
            gnutls_alert_send_appropriate(link->session, result); /* as far as there is room */
            give_up(server, link);
            return false;
        }
    }
    return hand_over(server, link);
}

/* ---- from the client to the front ---- */

/* What the front had no room for. Returns whether anything was moved. */
static bool move_rest(struct link *link)
{
    ssize_t length = send(link->front.fd, link->rest + link->rest_at, link->rest_length - link->rest_at,
                          MSG_NOSIGNAL | MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    link->front_deaf |= length < 0;
    link->rest_at += length < 0 ? 0 : (size_t)length;
    if (link->front_deaf || link->rest_at == link->rest_length)
        free(take(link->rest));
    return true;
}

static void keep_rest(struct link *link, size_t length)
{
    link->rest = malloc(length);
    if (link->rest)
        memcpy(link->rest, record, length);
    link->rest_length = length;
    link->rest_at = 0;
}

/* Returns whether to go on. */
static bool move_up(struct server *server, struct link *link)
{
    if (link->rest)
        return move_rest(link);
    if (link->client_done)
        return false;
    ssize_t length = gnutls_record_recv(link->session, record, sizeof record);
    if (length == GNUTLS_E_AGAIN)
        return false;
    if (length < 0 && !gnutls_error_is_fatal((int)length) && length != GNUTLS_E_REHANDSHAKE)
        return true; /* interrupted, or a warning */
    if (length <= 0) {
        /* The end, with a word of farewell or without; the front cannot tell them apart in HTTP. */
        link->client_done = true;
        shutdown(link->front.fd, SHUT_WR);
        if (length < 0 && length != GNUTLS_E_PREMATURE_TERMINATION) {
            gnutls_alert_send_appropriate(link->session, (int)length); /* as far as there is room */
            link_close(server, link);
        }
        return false;
    }
    if (link->front_deaf)
        return true;
    keep_rest(link, (size_t)length);
    if (link->rest)
        return move_rest(link);
    link_close(server, link); /* no memory */
    return false;
}

/* ---- from the front to the client ---- */

static bool say_bye(struct server *server, struct link *link)
{
    int result = gnutls_bye(link->session, GNUTLS_SHUT_WR);
    if (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED)
        return false;
    link->said_bye = true;
    linger(server, link);
    return false;
}

/* Returns whether to go on. A record that the client has no room for is the session's, and is sent by a call without
 * bytes. */
static bool move_down(struct server *server, struct link *link)
{
    ssize_t length = 0, sent;
    if (link->said_bye)
        return false;
    if (!link->sending) {
        length = link->front_done ? 0 : recv(link->front.fd, record, sizeof record, MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (length <= 0 && !link->front_done) {
            link->front_done = true;
            if (link->phase == PHASE_OPEN)
                server_phase(server, link, PHASE_FLUSHING);
        }
        if (length <= 0)
            return say_bye(server, link);
    }
    sent = gnutls_record_send(link->session, link->sending ? NULL : record, (size_t)length);
    link->sending = sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED;
    if (sent < 0 && !link->sending)
        link_close(server, link);
    return sent > 0;
}

/* ---- both ---- */

/* What comes after the last word. */
static void drop_input(struct server *server, struct link *link)
{
    ssize_t length = 1;
    for (int turn = 0; turn < TURNS && length > 0; turn++)
        length = recv(link->client.fd, record, sizeof record, MSG_DONTWAIT);
    if (length > 0)
        server_again(server, link);
    else if (length == 0 || (errno != EAGAIN && errno != EINTR))
        link_close(server, link);
}

/* Whether nothing more can come of it. */
static bool is_over(const struct link *link)
{
    return link->said_bye && (link->client_done || link->front_deaf);
}

void link_move(struct server *server, struct link *link)
{
    bool more = true;
    if (link->phase == PHASE_HANDSHAKE && !shake_hands(server, link))
        return;
    for (int turn = 0; turn < TURNS && more && !link->dead; turn++) {
        if (link->given_up || is_over(link)) {
            drop_input(server, link);
            return;
        }
        more = move_up(server, link);
        more = (!link->dead && move_down(server, link)) || more;
    }
    if (link->dead)
        return;
    if (link->gone && link->rest) { /* the front is to know, and does not take what came before */
        link_close(server, link);
        return;
    }
    if (more)
        server_again(server, link);
}
