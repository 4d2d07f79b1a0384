/* The TLS process: ends TLS for strangers, and is the one process that holds the private key.
 *
 *   main.c         starts it: descriptor 3 is the supervisor's socket, its first message is WIRE_TLS_SETUP
 *   server.c       the event loop: listening sockets, the supervisor's messages, the deadlines
 *   link.c         one client: its handshake, then bytes to and from the front
 *   credentials.c  the certificate and its key
 *
 * Why a process: a mistake in the parser of HTTP, or of what runs send, is not one that tells the key; a handshake's
 * arithmetic keeps nobody else waiting; and the front looks at a request's first bytes before anything parses them,
 * which it cannot do through TLS. The front gets the other end of a socket pair for each client whose handshake is
 * done, and treats it as any connection. Here nothing of HTTP is known, and nothing of scripts.
 *
 * Trusts the supervisor. Has no files, no new processes, no capabilities (lib/sandbox.h). */
#ifndef SAFE_SCRIPT_TLS_H
#define SAFE_SCRIPT_TLS_H

#include "fault.h"
#include "wire.h"

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct server;
struct link;

/* ---- credentials ---- */

/* A certificate with its key, and what else a handshake needs. Counted: sessions outlive a reload. */
struct credentials {
    gnutls_certificate_credentials_t certificate;
    unsigned users;
};

/* Reads both memory files, PEM. Logs a warning where the certificate is not valid now, or soon will not be. Returns
 * NULL with *fault. */
struct credentials *credentials_read(int certificate, int key, struct fault *fault);
struct credentials *credentials_share(struct credentials *credentials);
void credentials_leave(struct credentials *credentials); /* NULL is fine */

/* ---- links ---- */

/* What a link waits for; all but the open ones have a deadline. */
enum phase {
    PHASE_HANDSHAKE,
    PHASE_OPEN,      /* the front has the other end, and its deadlines hold */
    PHASE_FLUSHING,  /* the front has ended: the client is to take what is left */
    PHASE_LINGERING, /* everything was said: what the client still sends is dropped, lest a reset overtake our words */
    PHASE_COUNT
};

/* A thing that epoll watches: the first member of what owns it. */
struct watch {
    void (*ready)(struct server *server, struct watch *watch, uint32_t events);
};

struct end {
    struct watch watch; /* first */
    struct link *link;
    int fd;
};

struct link {
    struct end client, front; /* front.fd is -1 before the handshake is done */
    gnutls_session_t session;
    struct credentials *credentials;
    struct sockaddr_storage address;
    enum phase phase;
    uint64_t since_ms;
    struct link *older, *newer; /* of the same phase */
    uint8_t *rest;              /* read from the client, and the front had no room for it */
    size_t rest_length, rest_at;
    int offered;      /* the front's end while its socket had no room for it; -1 */
    bool greeted;     /* the first byte was looked at */
    bool given_up;    /* no TLS, or a bad handshake: the rest is dropped */
    bool sending;     /* the session holds a record that the client had no room for */
    bool gone;        /* the client has hung up */
    bool client_done; /* no more from the client; the front knows */
    bool front_deaf;  /* the front takes nothing any more */
    bool front_done;  /* no more from the front */
    bool said_bye;
    bool queued; /* to be moved on in this round */
    bool dead;
    struct link *next;
};

struct queue {
    struct link *oldest, *newest;
};

/* Takes fd. */
void link_start(struct server *server, int fd, const struct sockaddr_storage *address);
/* Moves what can be moved without waiting. */
void link_move(struct server *server, struct link *link);
void link_close(struct server *server, struct link *link);

/* ---- the process ---- */

enum { LISTENERS_MOST = WIRE_FDS };

struct listener {
    struct watch watch;
    int fd;
};

struct server {
    struct watch supervisor_watch;
    int supervisor, epoll;
    int handover; /* to the front: WIRE_CLIENT */
    struct wire_tls_setup setup;
    struct credentials *credentials;
    gnutls_priority_t priorities;
    gnutls_datum_t ticket_key;
    struct listener listeners[LISTENERS_MOST];
    size_t listener_count;
    uint64_t paused_ms; /* until then none are accepted; 0: they are */
    struct queue queues[PHASE_COUNT];
    size_t links, links_most;
    struct link *busy;       /* have more to move than one turn takes */
    struct link *graveyard;  /* freed once no event of this batch can name them */
    size_t offered;          /* wait for room in the handover */
    uint64_t now_ms, end_ms; /* end: the supervisor has gone, and so do we at this time */
    bool done;
    int exit_status;
};

/* Serves until the supervisor closes its socket. Takes the descriptors of setup. Returns the exit status. */
int server_run(struct server *server, struct wire_message *setup);

/* Puts a new link into its phase's queue; moves it to another. */
void server_join(struct server *server, struct link *link);
void server_phase(struct server *server, struct link *link, enum phase phase);
/* Takes a link out of its queue. */
void server_forget(struct server *server, struct link *link);
int server_watch(struct server *server, int fd, struct watch *watch, uint32_t events);
/* It has more to move. */
void server_again(struct server *server, struct link *link);

#endif
