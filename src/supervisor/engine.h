/* The engine: everything that the supervisor owns. One thread, one epoll.
 *
 * Theory of operation. A slot is one jail's life: spawned by the zygote on our order, closed around itself, waiting in
 * the pool, running one script, dead, free again. All slots are children of this process (CLONE_PARENT), so wait4()
 * here is the only word on how a run ended. A run is what a client asked for: it waits in the queue (queue.h: whose
 * turn it is) for a slot, and takes it with it when it ends. The front (an HTTP server, or the command line's client)
 * asks for runs and gets, for each, STARTED with the read ends of its pipes and OUTCOME with the facts.
 *
 * Trust: messages of the front and the zygote are checked against the wire table and then against our own state; from a
 * slot we take JAILED or JAIL_FAILED before its script starts and nothing after. */
#ifndef SAFE_SCRIPT_ENGINE_H
#define SAFE_SCRIPT_ENGINE_H

#include "box.h"
#include "cgroup.h"
#include "environment.h"
#include "interpreter.h"
#include "jail.h"
#include "listen.h"
#include "outer.h"
#include "owners.h"
#include "queue.h"
#include "relay.h"
#include "run.h"
#include "settings.h"
#include "wire.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum slot_state { /* WIRE_SLOT_STATES of them */
                  SLOT_FREE,
                  SLOT_SPAWNING, /* SPAWN sent to the zygote */
                  SLOT_ENTERING, /* SPAWNED; it closes its jail */
                  SLOT_WAITING,  /* jailed, in the pool */
                  SLOT_RUNNING,
                  SLOT_DYING, /* killed or failed; wait4() will tell */
};

/* What an epoll event is about; its pointer is the event's data. */
struct source {
    enum {
        SOURCE_SIGNAL,
        SOURCE_FRONT,
        SOURCE_ZYGOTE,
        SOURCE_CONTROL,
        SOURCE_LISTENER,
        SOURCE_OOM,
        SOURCE_TLS,
        SOURCE_STARTER,
        SOURCE_RELAY
    } kind;
    void *owner;
};

enum {
    PARKED_MOST = 16,
    FAILURES_MOST = 10, /* in a row: no jail can be made here */
};

struct run {
    struct queue_entry entry; /* first */
    uint64_t id;              /* the front's; 0: its front has gone, nobody waits for it */
    struct limits limits;
    int job, input; /* memfds; input is -1 without stdin. Kept until the end, in case the run must start anew */
    uint64_t asked_us;
    uint64_t started_us;             /* when it first began: its wall clock goes on through another start */
    bool probe;                      /* the front's own, to see whether scripts can be run: it takes nobody's place */
    unsigned starts;                 /* times that a jail took it: one may be killed from outside */
    struct environment *asked;       /* whose limits it has */
    struct environment *environment; /* whose jail it gets: that, or one that is only warmer */
    struct slot *slot;               /* where it runs */
    struct run *next;                /* of those that are found in the same place by their ids */
};

struct slot {
    enum slot_state state;
    struct source control_source, listener_source, oom_source;
    uint64_t serial;                 /* new for each life */
    uint64_t zygote;                 /* generation that it was asked of */
    struct environment *environment; /* whose it is; NULL: it is free */
    uint64_t disk_bytes;
    uint64_t memory; /* that its run may use */
    uint32_t layers;
    uint32_t uid;
    pid_t pid;    /* our child: wait4() tells of it */
    pid_t script; /* the process that runs the script: the same, or the child of the tool that is put around it */
    int pidfd;    /* of the script's, once it is known */
    int control, listener;
    int report, out, err; /* read ends, until the front has them */
    struct cgroup *cgroup;
    struct box *box; /* where the root layer does not hold; of this life */
    struct run *run;
    struct facts facts;
    uint64_t state_us;                  /* when it came into its state */
    uint64_t started_us;                /* when the script's time began */
    uint64_t wall_deadline_us, look_us; /* look: at CPU and memory */
    unsigned oom_looks; /* left to make at short intervals: the kernel tells of want before it has killed */
    bool killed;
    bool reaped;
    int ended;                           /* the exit status that it asked to be ended with; -1: it has not */
    bool wanted;                         /* the kernel killed in it for want of memory that was not its own limit's */
    bool notified;                       /* it had a listener */
    unsigned refusals, signals, answers; /* notices of each kind */
    struct slot *next_free;
};

struct child {
    struct source source;
    pid_t pid; /* 0: none */
    int socket;
    uint64_t started_us;
    unsigned failures; /* in a row, without having been ready */
    uint64_t retry_us; /* not started again before */
    bool ready;
    bool heard;          /* it has said something since the last look … */
    unsigned deaf_looks; /* … or else, in a row, had something left to read */
};

/* SIGKILL for a child that there is: kill(0) would be our own process group. */
static inline void child_kill(const struct child *child)
{
    if (child->pid > 0)
        kill(child->pid, SIGKILL);
}

/* What a zygote is made for. */
struct recipe {
    struct limits limits;              /* of its jails */
    char modules[ENVIRONMENT_MODULES]; /* that it imports; a blank after each */
};

struct zygote {
    struct child child;
    struct environment *environment;
    uint64_t generation, spawned;
    struct recipe recipe;
    bool dismissed; /* it is not wanted any more */
};

/* One row of the table of environments. The first is the usual one. */
struct environment {
    uint32_t number; /* of the row */
    char name[ENVIRONMENT_NAME + 1];
    struct environment *larger; /* of a tier: the next one of its environment with more modules; that has none */
    bool offered;               /* by the configuration that is in force */
    bool warm;                  /* its zygote is always there */
    uint32_t interpreter;
    struct recipe made_for, wanted;    /* in force; by the configuration */
    struct limits told;                /* to this front: the highest of each */
    struct zygote zygote, next_zygote; /* next: being warmed to take over */
    unsigned in_state[SLOT_DYING + 1]; /* its slots; none is free */
    uint64_t pool, pool_wanted;        /* the second: 0: chosen */
    uint64_t runs;                     /* that are its: they wait or run */
    uint64_t idle_us, needed_us;       /* put away after so long; when a run last needed it */
    unsigned failures;                 /* of jails, in a row */
    struct fault fault;
    uint64_t spawn_retry_us;
};

/* The certificate and its key, as memory files; -1 where there is none. */
struct tls_files {
    int certificate, key;
};

struct tls {
    struct child child;
    int clients[2];                /* [0]: where it puts clients, [1]: where the front gets them */
    struct tls_files files, fresh; /* in use; those that it has been asked to take */
    bool asked, again;             /* an answer is to come; then the files are to be read again */
};

/* A message that the front's socket had no room for; its descriptors are duplicates. */
struct unsent {
    struct unsent *next;
    struct wire_message message;
};

/* What has happened since the start, for WIRE_STATS. */
struct counts {
    uint64_t started_s;
    uint64_t jails_made, jails_failed;
    uint64_t runs_restarted;
    uint64_t restarts[PROCESS_COUNT], recycled;
};

struct program {
    char path[4096 + 32];
    int fd; /* O_PATH of it */
    char **argv;
};

enum {
    POOL_STEADY_PER_CORE = 4, /* jails that serve a steady load; a deeper pool is for bursts */
    POOL_REFILL_US = 5000,    /* after the last run has begun the pool is filled to its depth */
    SPAWNS_AT_ONCE = 8, /* ordered of a zygote and not yet answered: keeps its queue, and a request's wait, short */
};

struct engine {
    struct settings *settings;
    int argc; /* what they were read from */
    char **argv;
    struct jail_plan plan;
    struct jail_plan programs_plan; /* for the front and the TLS process: as if the engine were our own */
    struct outer outer;             /* where it is not */
    char tool[4096];
    struct layer_report reports[LAYER_COUNT];
    struct cgroups *cgroups;
    struct boxes *boxes;                                     /* NULL where each run has a tmpfs */
    struct box_usage box_room;                               /* in their directory, when we started */
    struct interpreter *interpreters[ENVIRONMENTS_MOST + 1]; /* of the start; the first is the server's */
    uint32_t interpreter_count;
    char library[4096]; /* directory of our executables, extension and bootstrap */
    int epoll;
    struct source signal_source;
    int signal_fd;

    struct relay relay; /* of the log, under `serve` */
    struct source relay_source;

    struct child starter; /* as a child: its pid and socket */
    bool failed;          /* we end because it has ended */
    struct program front_program, tls_program;
    struct tls tls;  /* its pid is 0 where no address speaks TLS */
    bool front_once; /* the command line's client: when it ends, so do we, with its status */
    int front_status;
    struct child front;
    struct unsent *unsent_head, **unsent_tail;
    uint64_t listen_us; /* when the front and the TLS process are looked at next */
    int description;    /* memfd: the body of /v1/jail, then the objects of /v1/environments, a line each */
    int offers;         /* memfd: struct environment_offers */
    struct listening listening[LISTEN_MOST];
    size_t listening_count;

    struct environment environments[ENVIRONMENT_ROWS]; /* and their tiers, in the order in which they came */
    size_t environment_count;
    uint8_t states_told[ENVIRONMENT_ROWS]; /* enum environment_state: to this front */
    uint64_t now_us;                       /* when it was last balanced */
    uint64_t memory_look_us;
    bool memory_short;

    struct slot *slots; /* room for the most that there can be, so that they stay where they are */
    size_t slot_count;
    struct slot *free_slots;
    unsigned in_state[SLOT_DYING + 1];
    uint64_t serial, uid_next;
    unsigned cores;
    uint64_t concurrency;
    uint64_t memory_usable;            /* of the machine's or a container's */
    uint64_t processes_usable;         /* by cgroups and limits; UINT64_MAX: no bound */
    uint64_t memory_room, memory_held; /* by limits: of all runs at once; of those that run */

    struct run_queue queue;
    bool full_told;                  /* the front knows of somebody for whom it is full … */
    uint64_t left;                   /* … since when so many had left it */
    struct run *parked[PARKED_MOST]; /* their turn has come, and they wait for a jail of their own */
    unsigned parked_count;
    struct owner owners[OWNER_ROWS];
    struct owner front_itself; /* of probes: no key, no rate */
    int keys;                  /* memfd for the front; -1: there are none */
    uint32_t key_count;
    struct run **by_id; /* 1 << by_id_bits lists */
    unsigned by_id_bits;
    uint64_t mean_wall_us; /* of the last runs */
    struct run *probe;     /* it waits … */
    bool probing;          /* … or runs */

    struct counts counts;
    uint64_t starved_us;   /* when the log was last told that descriptors are wanting … */
    uint64_t disk_told_us; /* … and room for runs' files */
    uint64_t started_us;   /* when the last run began */
    bool draining, quit;
    bool reloading;                         /* the service manager has been told so */
    uint64_t watchdog_us, watchdog_next_us; /* the service manager's; 0: it has none */
    uint64_t drain_deadline_us;
    enum serving serving;
    uint64_t zygote_told; /* the front was told that this one is ready */
};

uint64_t now_us(void); /* CLOCK_MONOTONIC */

/* Whether the supervisor's own watch over runs is on: their clock, CPU, memory and output. It always is, but where a
 * test build leaves that layer out. */
static inline bool engine_watches(const struct engine *engine)
{
    return engine->plan.layers & LAYER_BIT(LAYER_SUPERVISOR);
}

/* Whether what a dead run has left can come to us: no pid namespace has taken it along, or a tool died on its way to
 * one. */
static inline bool engine_has_orphans(const struct engine *engine)
{
    return engine->plan.engine != ENGINE_CLONE || !(jail_clone_flags(&engine->plan) & CLONE_NEWPID);
}

/* Opens the engine: probes must have been made (plan, reports). Returns 0 or -1 with *fault. */
int engine_open(struct engine *engine, struct fault *fault);
/* From here on the reader of our log cannot stop us. Once, after engine_open(). */
void engine_relay_log(struct engine *engine);
/* Runs until told to stop. Returns the exit status. */
int engine_serve(struct engine *engine);
/* Kills and reaps what is left, removes cgroups. */
void engine_close(struct engine *engine);

int engine_watch(struct engine *engine, int fd, struct source *source);

/* starter.c: what is begun by it is our child. Each returns -1 with *fault when it failed. starter_open() forks it,
 * with what the engine is then: plan, interpreter, library, program. */
int starter_open(struct engine *engine, struct fault *fault);
pid_t starter_begin(struct engine *engine, enum begun what, uint32_t interpreter, int socket, struct fault *fault);
/* Without waiting: the starter lets the run go on, or starter_event() hears that it could not. */
int starter_map(struct engine *engine, const struct slot *slot, struct fault *fault);
void starter_event(struct engine *engine);

/* size.c: sets cores, pool and concurrency, and lowers the queue, to what the machine has and the settings say. Returns
 * 0, or -1 with *fault and the engine as it was. */
int engine_size(struct engine *engine, struct settings *settings, struct fault *fault);
/* Where boxes hold the runs' files: their room is shared evenly, so that no run can take another's; lowers the disk
 * limit to that. Returns 0, or -1 with *fault. */
int engine_share_disk(const struct engine *engine, struct settings *settings, struct fault *fault);
/* As many slots as concurrency and the pools of started zygotes need: each is looked at often. There are never fewer
 * than before. */
void engine_grow(struct engine *engine);

/* environments.c. environments_open(): the interpreters and the table, by the settings, to which it adds sections for
 * what needs none. Returns 0, or -1 with *fault. environments_want(): the settings have changed. */
int environments_open(struct engine *engine, struct settings *settings, struct fault *fault);
void environments_want(struct engine *engine, struct settings *settings);
void environments_keep(struct engine *engine, uint64_t now); /* starts zygotes that are needed, puts others away */
uint64_t environments_deadline(const struct engine *engine, uint64_t now);
void environments_offer(const struct engine *engine, struct environment_offers *offers);
/* The one that people know by its name: itself, or that of which it is a tier. */
const struct environment *environment_named(const struct environment *environment);
/* Of each by its number; a tier is told of as its environment. */
void environments_states(const struct engine *engine, uint8_t states[ENVIRONMENT_ROWS]);
bool recipes_differ(const struct recipe *one, const struct recipe *other);
enum environment_state environment_state(const struct environment *environment);
bool environment_is_broken(const struct environment *environment);
bool environment_is_needed(const struct engine *engine, const struct environment *environment, uint64_t now);
/* Whether it may run what asks for another: the same interpreter and packages, and no lower limit. */
bool environment_is_warmer(const struct environment *environment, const struct environment *than);

/* describe.c: what the front answers of us. engine_describe() returns 0, or -1 with errno; describe_again() does it
 * once more and tells the front. */
int engine_describe(struct engine *engine);
void describe_again(struct engine *engine);

/* reload.c */
void engine_reload(struct engine *engine);
bool recipe_waits(const struct environment *environment); /* for a zygote */
/* The new settings are in force, or will never be: the service manager is told. */
void reload_done(struct engine *engine);
/* Puts a recipe in force: a zygote that was made for it has taken over, or there is none. */
void environment_take(struct engine *engine, struct environment *environment, const struct recipe *recipe);

/* confine.c: nothing is begun by us after this, and little else can be. Returns 0, or -1 with *fault. */
int engine_confine(const struct engine *engine, struct fault *fault);

/* tls.c: the TLS process. tls_check() has the files that the settings name looked at, by a process that ends again;
 * nothing else need be open; `quiet` keeps its warnings to itself. tls_open() reads them. Both return 0, or -1 with
 * *fault. */
int tls_check(const struct settings *settings, const char *library, bool quiet, struct fault *fault);
int tls_open(struct engine *engine, struct fault *fault);
/* Whether the files that settings name are what our addresses need. Returns 0, or -1 with *fault. */
int tls_fits(const struct engine *engine, const struct settings *settings, struct fault *fault);
bool tls_wanted(const struct engine *engine);
void tls_start(struct engine *engine);
void tls_tell_state(struct engine *engine);
void tls_lost(struct engine *engine, int status);
void tls_event(struct engine *engine);
void tls_reload(struct engine *engine);

/* children.c: the front and the zygotes */
/* Has the starter begin a child with a connected socket. Returns false, with a line in the log, where it did not. */
bool child_begin(struct engine *engine, struct child *child, enum begun what, uint32_t interpreter);
void child_ended(struct child *child, bool was_ready);
/* To be called now and then: true when the child has for many calls read nothing and said nothing. */
bool child_is_deaf(struct child *child);
void front_start(struct engine *engine);
void front_lost(struct engine *engine, int status);
void front_tell_state(struct engine *engine);
void front_tell_settings(struct engine *engine);
/* Sends to the front, in order, now or when its socket has room. */
void front_send(struct engine *engine, const struct wire_message *message);
void front_flush(struct engine *engine);
void zygote_open(struct zygote *zygote, struct environment *environment); /* there is none yet */
void zygote_start(struct engine *engine, struct zygote *zygote);
struct zygote *zygote_of(struct engine *engine, pid_t pid); /* NULL: it is none */
void zygote_lost(struct engine *engine, struct zygote *zygote, int status);
void zygote_event(struct engine *engine, struct zygote *zygote);
void zygote_recycle(struct engine *engine, struct environment *environment);

/* slot.c: one jail's life */
void slot_spawn(struct engine *engine, struct environment *environment, uint64_t disk_bytes);
void slot_spawned(struct engine *engine, struct slot *slot, int pidfd);
void slot_control(struct engine *engine, struct slot *slot);
/* Its jail could not be made. */
void slot_failed(struct engine *engine, struct slot *slot, const struct fault *fault);
void slot_start(struct engine *engine, struct slot *slot, struct run *run);
void slot_kill(struct engine *engine, struct slot *slot, enum cause cause);
void slot_oom(struct slot *slot);
void slot_look(struct engine *engine, struct slot *slot, uint64_t now);
/* All of a run that asked to be ended is dead. */
void slot_over(struct engine *engine, struct slot *slot);
void slot_reaped(struct engine *engine, struct slot *slot, int status, const struct rusage *usage);
void slot_free(struct engine *engine, struct slot *slot);
void slots_end_orphans(struct engine *engine, pid_t ended);
struct slot *slot_of(struct engine *engine, pid_t pid);
void slot_set_state(struct engine *engine, struct slot *slot, enum slot_state state);

/* notify.c: system calls that the jail's filter refused or asks about */
/* Its listener: there is a notice to be had, or else nobody is left who could ask. */
void slot_notified(struct engine *engine, struct slot *slot, bool asks);

/* stats.c */
void stats_send(struct engine *engine); /* answers WIRE_ASK_STATS */

/* keys.c: reads the keys that settings name; takes them and tells the front. Each returns 0, or -1 with list->error:
 * the keys are then what they were. */
int keys_read(const struct settings *settings, struct key_list *list);
int keys_take(struct engine *engine, struct key_list *list);
void keys_forget(struct key_list *list);
void front_tell_keys(struct engine *engine);

/* runs.c: what was asked for, from RUN to its last word */
int runs_open(struct engine *engine, struct fault *fault);
void runs_close(struct engine *engine);
void front_event(struct engine *engine);
void run_finish(struct engine *engine, struct run *run, const struct facts *facts);
void run_requeue(struct engine *engine,
                 struct run *run); /* it was started, and waits again before its owner's others */
void run_unpark(struct engine *engine, struct run *run);
/* This environment is not to be had, or its zygote has gone: what waits there and has not asked for it goes where it
 * can be had; what has asked for one that is broken is refused. */
void runs_move(struct engine *engine, const struct environment *environment);
void runs_orphan(struct engine *engine); /* the front has gone, and their clients with it */
void runs_refuse(struct engine *engine); /* those that have waited for too long, or that no jail will be had for */
struct run *run_waiting(const struct engine *engine); /* any that waits; NULL: none does */
uint64_t runs_waiting(const struct engine *engine);
/* The front, which refuses by itself for whom there was no room, is told that there may be some. */
void runs_tell_room(struct engine *engine);
/* The limits have changed: what has not begun gets no more than they give. */
void runs_bound(struct engine *engine);
uint64_t runs_deadline(const struct engine *engine); /* UINT64_MAX: none */

/* pool.c: which jails are made, and which run gets which */
void pool_start_queued(struct engine *engine); /* while places are free */
void pool_refill(struct engine *engine, struct environment *environment);
/* Jails made for a disk size that nobody asks for any more go at once: they hold places. */
void pool_drop_odd(struct engine *engine);

/* supervisor.c */
/* We may have no more descriptors: says so, now and then. */
void engine_starved(struct engine *engine, const char *object);
void engine_tell_service(const struct engine *engine); /* what it serves */
void engine_balance(struct engine *engine);            /* starts queued runs, refills the pool */

#endif
