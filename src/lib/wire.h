/* The protocol between our processes: one table of messages, one codec for both ends.
 *
 * Carrier: SOCK_SEQPACKET socket pairs, so a message is whole or absent. Both ends are of one build; a message is its
 * struct, byte for byte, after an 8-byte header. What arrives must match its row exactly: known type, right direction,
 * exact size, number of descriptors in range, allowed in the receiver's state. Anything else is WIRE_BROKEN, and the
 * receiver ends that connection (and, where the peer is a child of ours, that child). */
#ifndef SAFE_SCRIPT_WIRE_H
#define SAFE_SCRIPT_WIRE_H

#include "environment.h"
#include "fault.h"
#include "limit.h"
#include "origins.h"
#include "run.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum wire_link {
    LINK_FRONT,
    LINK_ZYGOTE,
    LINK_RUN,
    LINK_STARTER,
    LINK_TLS,
    LINK_CLIENTS
}; /* the peer of the supervisor on this connection */

enum wire_type {
    WIRE_SETUP = 1, /* supervisor → front: first. fds: descriptions, struct environment_offers (memfds), then
                       listeners, if any. Again, without
                       listeners, when settings have changed */
    WIRE_KEYS,  /* supervisor → front: after the first SETUP, and whenever they change. fds: memfd of struct key[], if
                   any */
    WIRE_STATE, /* supervisor → front: serving state changed */
    WIRE_RUN,   /* front → supervisor: run this. fds: job memfd, and stdin memfd if has_stdin */
    WIRE_CANCEL,    /* front → supervisor: kill it. An unknown id is fine (it may just have ended) */
    WIRE_QUEUED,    /* supervisor → front: it waits for its place; for runs with tell_queued */
    WIRE_STARTED,   /* supervisor → front: fds: report, stdout, stderr (read ends). Again for the same id if the run
                       had to be started anew: forget what the first one wrote */
    WIRE_OUTCOME,   /* supervisor → front: the whole jail is dead; the pipes end. Last word on this id */
    WIRE_REFUSED,   /* supervisor → front: not run at all. Last word on this id */
    WIRE_ROOM,      /* supervisor → front: for whom the queue was full it may not be any more */
    WIRE_ASK_STATS, /* front → supervisor: what have you counted? */
    WIRE_STATS,     /* supervisor → front: the answer */
    WIRE_WARM,      /* supervisor → zygote: once, first: what it is to import */
    WIRE_PLAN,      /* supervisor → zygote: once, then */
    WIRE_READY,     /* zygote → supervisor: warm and able to clone */
    WIRE_SPAWN,     /* supervisor → zygote: clone one. fds: control, report, stdout, stderr (write ends), cgroup files
                     */
    WIRE_SPAWNED,   /* zygote → supervisor: fds: pidfd */
    WIRE_SPAWN_FAILED, /* zygote → supervisor */
    WIRE_ENTER,  /* supervisor, or the starter for it → run: the id maps are written; close the jail around you */
    WIRE_JAILED, /* run → supervisor: jailed, waiting. fds: seccomp listener, where there is one */
    WIRE_JAIL_FAILED, /* run → supervisor: could not; it exits */
    WIRE_START,       /* supervisor → run: fds: job memfd[, stdin memfd]. The run closes this connection */
    WIRE_BEGIN,       /* supervisor → starter: begin a child. fds: its socket */
    WIRE_MAP,        /* supervisor → starter: write a run's id maps, and send it ENTER. fds: the connection to it, its
                        pidfd */
    WIRE_MAP_FAILED, /* starter → supervisor: they could not be written; of others it says nothing */
    WIRE_DONE,       /* starter → supervisor: to each BEGIN, in order */
    WIRE_TLS_SETUP,  /* supervisor → TLS process: first. fds: certificate, key (memfds), the socket for WIRE_CLIENT,
                        listeners. Again, with two of them, when they are new; alone with two: to be checked only */
    WIRE_TLS_STATE,  /* supervisor → TLS process: serving state changed */
    WIRE_TLS_ANSWER, /* TLS process → supervisor: to each TLS_SETUP */
    WIRE_CLIENT,     /* TLS process → front: a client whose handshake is done. fds: its connection */
    WIRE_TYPE_END
};

enum serving { SERVING_STARTING, SERVING_READY, SERVING_DRAINING };

enum refusal {
    REFUSED_FULL,     /* the queue is full for all of its owner's, until ROOM: 429 */
    REFUSED_CROWDED,  /* the queue has no place for this one, or none any more: 429 */
    REFUSED_LATE,     /* it waited in the queue for too long: 429 */
    REFUSED_RATE,     /* its owner's rate is spent: 429 */
    REFUSED_KEY,      /* its owner may ask for nothing any more: 403 */
    REFUSED_STARTING, /* no jail can be had yet: 503 */
    REFUSED_DRAINING, /* we are stopping: 503 */
    REFUSED_BROKEN    /* no jail can be made here any more: 503 */
};

/* Without keys a client is told from others by its address: each address is one of so many owners. */
enum { OWNERS = 256 };

enum begun { BEGUN_FRONT, BEGUN_ZYGOTE, BEGUN_TLS, BEGUN_COUNT };

struct wire_setup {
    struct limits limits;
    char cors_origins[ORIGINS_BYTES + 1];
    uint32_t listeners; /* number of listening descriptors that follow the descriptions */
    uint32_t clients;   /* 1: a socket that WIRE_CLIENT comes from stands before the listeners */
    uint32_t inherited; /* somebody else has them open, too: what waits there is served by who comes after us */
    uint32_t max_connections;
    uint64_t body_timeout_ms;           /* a request must be whole within this */
    uint64_t idle_timeout_ms;           /* a kept-alive connection without a request */
    uint64_t buffered_bytes;            /* requests held at once, until their runs are over; more: 429 */
    uint64_t records_ms, records_bytes; /* for how long, and in how many bytes, runs that are over are kept */
    uint64_t heartbeat_ms;              /* an event stream that is silent for so long gets a comment */
    uint32_t log_level, log_format;
#ifdef SAFE_SCRIPT_ABLATION
    uint32_t without; /* as jail_plan's */
#endif
};
struct wire_keys {
    uint32_t needed; /* nobody may do anything without one */
    uint32_t count;
};
struct wire_state {
    uint32_t serving; /* enum serving */
    uint64_t zygote;  /* which one is ready for the default environment, another number for each; 0: none */
    uint8_t environments[ENVIRONMENT_ROWS]; /* enum environment_state of each */
};
struct wire_run {
    uint64_t id;
    struct limits limits; /* the server's, lowered by the request */
    uint32_t has_stdin;
    uint32_t tell_queued; /* QUEUED or REFUSED is to come at once */
    uint32_t owner;       /* who asks: a key's owner, or a number below OWNERS */
    uint32_t probe;       /* the front's own: beside all places, refused while there is another */
    uint32_t environment; /* its row's number */
    uint32_t warmer;      /* another that may run it instead, if its zygote is up; or the same */
};
struct wire_cancel {
    uint64_t id;
    uint32_t cause; /* CAUSE_CANCELLED, CAUSE_OUTPUT, CAUSE_RESULT, or CAUSE_WALL where the supervisor's clock failed */
};
struct wire_queued {
    uint64_t id;
};
struct wire_started {
    uint64_t id;
    struct limits limits; /* in force: those asked for, or lower ones that the server has got in the meantime */
    uint32_t environment; /* where it runs */
};
struct wire_outcome {
    uint64_t id;
    struct facts facts;
};
struct wire_refused {
    uint64_t id;
    uint32_t reason; /* enum refusal */
    uint32_t retry_after_s;
};
/* Of the processes that are told apart in numbers. */
enum wire_process { PROCESS_SUPERVISOR, PROCESS_STARTER, PROCESS_FRONT, PROCESS_ZYGOTE, PROCESS_COUNT };
enum { WIRE_SLOT_STATES = 6 };
struct wire_stats {
    uint64_t started_s;                /* when the server started, seconds since 1970 */
    uint64_t slots[WIRE_SLOT_STATES];  /* by enum slot_state */
    uint64_t pool, concurrency, queue; /* as they were set or chosen */
    uint64_t queued;
    uint64_t jails_made, jails_failed;
    uint64_t runs_restarted;
    uint64_t restarts[PROCESS_COUNT], recycled;
    uint64_t resident_bytes[PROCESS_COUNT];
    uint64_t pools[ENVIRONMENT_ROWS],
        waiting[ENVIRONMENT_ROWS];    /* of each environment: jails that are to wait, and do */
    uint64_t cgroup_bytes;            /* of all runs together; 0 where no cgroup counts */
    uint64_t log_lost[PROCESS_COUNT]; /* the supervisor's; the front knows its own */
};
struct wire_spawn {
    uint64_t slot;
    uint64_t disk_bytes; /* size of the tmpfs: fixed at the mount, so not in WIRE_START */
    uint32_t uid;        /* kernel uid of this run: mapped by the supervisor, or taken by the run itself; 0: none */
    uint32_t has_cgroup; /* a v2 cgroup descriptor follows: clone into it */
    uint32_t joins;      /* so many cgroup.procs files follow: the clone writes "0" to each */
    char box[64];        /* name of the run's box in plan->boxes (jail/box.h); empty where it has a tmpfs */
};
struct wire_spawned {
    uint64_t slot;
    int32_t pid; /* in the supervisor's pid namespace */
};
struct wire_spawn_failed {
    uint64_t slot;
    struct fault fault;
};
struct wire_warm {
    char modules[ENVIRONMENT_MODULES]; /* with blanks between them */
};
struct wire_ready {
    char version[64]; /* "CPython 3.11.2" */
};
struct wire_jailed {
    uint32_t layers; /* bit set of enum layer_id that were applied in the run */
};
struct wire_start {
    struct limits limits; /* rlimits are lowered to these before the script */
};
struct wire_begin {
    uint32_t what;        /* enum begun */
    uint32_t interpreter; /* of a zygote: its place among those that there were at the start */
};
enum map_fd { MAP_CONTROL, MAP_PIDFD, MAP_FDS };
struct wire_map {
    uint64_t slot;
    int32_t pid; /* in the supervisor's pid namespace */
    uint32_t uid;
};
struct wire_done {
    int32_t pid; /* of what was begun; -1: see fault */
    struct fault fault;
};
struct wire_empty {
    uint32_t zero;
};

struct wire_tls_setup {
    uint64_t timeout_ms; /* a handshake must be done within this */
    uint32_t inherited;  /* as in wire_setup */
    uint32_t log_level, log_format;
};
struct wire_tls_answer {
    uint32_t refused; /* the files: why is in fault. Those before stay */
    struct fault fault;
};
struct wire_client {
    struct sockaddr_storage address; /* the client's */
};

enum { WIRE_FDS = 16, WIRE_BYTES = 2048 };

struct wire_message {
    uint32_t type; /* enum wire_type */
    int fds[WIRE_FDS];
    int fd_count;
    union {
        struct wire_setup setup;
        struct wire_keys keys;
        struct wire_state state;
        struct wire_run run;
        struct wire_cancel cancel;
        struct wire_queued queued;
        struct wire_started started;
        struct wire_outcome outcome;
        struct wire_refused refused;
        struct wire_stats stats;
        struct wire_spawn spawn;
        struct wire_spawned spawned;
        struct wire_spawn_failed spawn_failed;
        struct wire_warm warm;
        struct wire_ready ready;
        struct wire_jailed jailed;
        struct wire_start start;
        struct wire_begin begin;
        struct wire_map map;
        struct wire_done done;
        struct wire_tls_setup tls_setup;
        struct wire_tls_answer tls_answer;
        struct wire_client client;
        struct wire_empty empty;
        uint8_t bytes[WIRE_BYTES];
    };
};

enum wire_result {
    WIRE_OK = 0,
    WIRE_AGAIN = -1,  /* nothing there (or no room, when sending) */
    WIRE_CLOSED = -2, /* the peer has gone */
    WIRE_BROKEN = -3, /* the peer broke the protocol */
    WIRE_STARVED = 1, /* received, but for its descriptors: this process may have no more */
};

/* `plan` is an opaque, fixed-size body for WIRE_PLAN, so that this library need not know the jail. */
int wire_send_plan(int socket, const void *plan, size_t size);
int wire_receive_plan(int socket, void *plan, size_t size);

/* Sends message (type, the union member that the row names, fds[0 … fd_count-1]); the descriptors stay the caller's.
 * Never blocks on a non-blocking socket. Returns an enum wire_result; a message that breaks its own row aborts. */
int wire_send(int socket, const struct wire_message *message);

/* Receives one message that `from_supervisor` says came down or up the given link. On WIRE_OK the descriptors in
 * message->fds are the caller's (close-on-exec); otherwise none was taken. WIRE_STARVED: that is nobody's breach, and
 * the rest of the message is there. Blocks only if the socket does. */
int wire_receive(int socket, enum wire_link link, bool from_supervisor, struct wire_message *message);

/* Closes what message->fds still holds; entries set to -1 are skipped. */
void wire_close_fds(struct wire_message *message);

/* The row's name, for logs: "RUN". */
const char *wire_name(uint32_t type);

#endif
