#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "child.h"

#include "files.h"
#include "frames.h"
#include "policy.h"
#include "scope.h"
#include "script.h"
#include "tools.h"
#include "turns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where a run has its descriptors. The control socket goes before the script comes; JAIL_PROC_FD is left free for the
 * jail. */
enum { REPORT = 3, CONTROL = JAIL_PROC_FD + 1, LAST_KEPT = REPORT };

enum { JOB_SMALL = 16384 }; /* bytes */

/* The one secret of a run. Never in a Python object, and in no frame that a script can see. */
static uint8_t nonce[NONCE_BYTES];

static char directory[4096]; /* the working directory */
static struct stat channel;  /* the report pipe */

/* ---- descriptors ---- */

/* An empty file, for a script that is given no standard input: the read-only root has one, and a lock on it is as void
 * as on any other file there. Elsewhere one of this run's own. */
static int open_no_input(const struct jail_plan *plan)
{
    close(STDIN_FILENO); /* so that this is its number */
    int fd = plan->layers & LAYER_BIT(LAYER_ROOT) ? open(RUN_NO_INPUT, O_RDONLY | O_NOFOLLOW) : -1;
    if (fd < 0 && (fd = memfd_create("stdin", MFD_ALLOW_SEALING)) >= 0)
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return fd < 0 ? open("/dev/null", O_RDONLY) : fd;
}

/* Not dup3(): the jail refuses it, and it refuses to leave what is in its place already. */
static int place(int from, int to, int flags)
{
    if (dup2(from, to) < 0)
        return -1;
    return flags || from == to ? fcntl(to, F_SETFD, flags) : 0;
}

/* The zygote's descriptors make room for the run's. Those that came lie above 3, so this order overwrites nothing that
 * is still to be moved. They are closed with all else that is above CONTROL (close_strangers()). Others may be the
 * jail's; they are closed once it stands. */
static int take_descriptors(const struct jail_plan *plan, const struct wire_message *spawn)
{
    if (open_no_input(plan) != STDIN_FILENO || place(spawn->fds[SPAWN_STDOUT], STDOUT_FILENO, 0) ||
        place(spawn->fds[SPAWN_STDERR], STDERR_FILENO, 0) || place(spawn->fds[SPAWN_REPORT], REPORT, FD_CLOEXEC) ||
        place(spawn->fds[SPAWN_CONTROL], CONTROL, FD_CLOEXEC))
        return -1;
    return fstat(REPORT, &channel);
}

/* Into the run's cgroup, before anything of the run's is allocated. */
static int join_cgroups(const struct wire_message *spawn)
{
    for (uint32_t i = 0; i < spawn->spawn.joins; i++) {
        if (write(spawn->fds[SPAWN_CGROUP + i], "0", 1) != 1)
            return -1;
    }
    return 0;
}

/* By JAIL_SHOWN_FD and those that follow it. */
static bool shows_paths(const struct jail_plan *plan)
{
    return !(plan->layers & LAYER_BIT(LAYER_ROOT));
}

static void close_between(int first, int last)
{
    if (syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0)
        return;
    long most = sysconf(_SC_OPEN_MAX);
    if (last > most)
        last = most > 0 && most < 65536 ? (int)most : 65536;
    for (int fd = first; fd <= last; fd++)
        close(fd);
}

/* Before the jail, which refuses close_range(): all but what it needs itself. */
static void close_strangers(const struct jail_plan *plan)
{
    close_between(CONTROL + 1, shows_paths(plan) ? JAIL_SHOWN_FD - 1 : INT_MAX);
    if (shows_paths(plan))
        close_between(JAIL_SHOWN_FD + JAIL_SHOWN_MOST, INT_MAX);
}

/* ---- the supervisor ---- */

/* The next message; anything but `type` is the end of this run, before it was one. */
static void await(uint32_t type, struct wire_message *message)
{
    for (;;) {
        int result = wire_receive(CONTROL, LINK_RUN, true, message);
        if (result == WIRE_OK && message->type == type)
            return;
        if (result != WIRE_AGAIN)
            _exit(result == WIRE_CLOSED ? 0 : EXIT_NO_CHANNEL);
        struct pollfd control = {.fd = CONTROL, .events = POLLIN};
        poll(&control, 1, -1);
    }
}

/* Whether a message is there already. */
static bool is_awaited(void)
{
    struct pollfd control = {.fd = CONTROL, .events = POLLIN};
    return poll(&control, 1, 0) == 1;
}

static _Noreturn void jail_failed(const struct fault *fault)
{
    struct wire_message message = {.type = WIRE_JAIL_FAILED, .spawn_failed = {.fault = *fault}};
    wire_send(CONTROL, &message);
    _exit(1);
}

/* By its name, not a descriptor of the supervisor's: where the run has a mount namespace of its own, a directory of
 * another has no path in it. Closed with the rest once the jail stands. */
static int open_box(const struct jail_plan *plan, const char *name, struct fault *fault)
{
    char path[sizeof plan->boxes + sizeof((struct wire_spawn *)NULL)->box];
    if (!*name)
        return -1;
    snprintf(path, sizeof path, "%s/%s", plan->boxes, name);
    auto_fd int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int above = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CONTROL + 1); /* the jail's own place stays free */
    return above < 0 ? fault_set(fault, "box", "open", errno, "%s", path) : above;
}

static void enter_jail(const struct jail_plan *plan, const struct jail_cell *cell)
{
    struct fault fault;
    struct wire_message message;
    int listener = -1;
    await(WIRE_ENTER, &message);
    if (jail_apply(plan, cell, &listener, &fault))
        jail_failed(&fault);
    if (!getcwd(directory, sizeof directory)) {
        fault_set(&fault, "zygote", "getcwd", errno, "the run's working directory");
        jail_failed(&fault);
    }
    message = (struct wire_message){.type = WIRE_JAILED, .jailed = {.layers = plan->layers}};
    if (listener >= 0)
        message.fds[message.fd_count++] = listener;
    if (wire_send(CONTROL, &message) != WIRE_OK || jail_limit_files(plan, &fault))
        _exit(1);
    scope_close(&listener); /* answering one's own calls would be an escape */
    if (cell->box >= 0)
        close(cell->box);
    for (int fd = JAIL_SHOWN_FD; shows_paths(plan) && fd < JAIL_SHOWN_FD + JAIL_SHOWN_MOST; fd++)
        close(fd);
    close(JAIL_PROC_FD); /* where the jail had no use for it */
}

/* ---- the report ---- */

static void write_all(const void *from, size_t length)
{
    const char *bytes = from;
    while (length) {
        ssize_t written = write(REPORT, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            _exit(EXIT_NO_CHANNEL);
        bytes += written;
        length -= (size_t)written;
    }
}

/* For when there is no memory even for the text of a failure: the frames of "it was the memory". */
static void write_bare_failure(void)
{
    static const uint32_t failure = FAIL_MEMORY, line = 0;
    const struct {
        const void *bytes;
        enum frame_tag tag;
        uint32_t length;
    } frames[] = {
        {nonce, FRAME_NONCE, sizeof nonce},
        {&failure, FRAME_FAILURE, sizeof failure},
        {"", FRAME_TYPE, 0},
        {"", FRAME_MESSAGE, 0},
        {&line, FRAME_LINE, sizeof line},
        {"", FRAME_TRACEBACK, 0},
        {"", FRAME_END, 0},
    };
    for (size_t i = 0; i < COUNT(frames); i++) {
        uint32_t header[2] = {frames[i].tag, frames[i].length};
        write_all(header, sizeof header);
        write_all(frames[i].bytes, frames[i].length);
    }
}

static void put_frames(struct buffer *report, const struct said *said)
{
    const uint32_t failure = said->failure;
    buffer_append_frame(report, FRAME_NONCE, nonce, sizeof nonce);
    if (failure == 0) {
        buffer_append_frame(report, FRAME_RESULT, said->result.bytes, said->result.length);
        return;
    }
    buffer_append_frame(report, FRAME_FAILURE, &failure, sizeof failure);
    buffer_append_frame(report, FRAME_TYPE, said->type.bytes, said->type.length);
    buffer_append_frame(report, FRAME_MESSAGE, said->message.bytes, said->message.length);
    buffer_append_frame(report, FRAME_LINE, &said->line, sizeof said->line);
    buffer_append_frame(report, FRAME_TRACEBACK, said->traceback.bytes, said->traceback.length);
}

/* Files that do not fit turn a result into a failure; after a failure, those that fit go with it. */
static void collect(struct said *said, const struct limits *limits, struct buffer *files)
{
    if (!said->ran || !files_wanted())
        return;
    close_between(LAST_KEPT + 1, INT_MAX); /* what the script left open: room for the files' descriptors */
    enum failure failure = files_collect(directory, limits->value[LIMIT_RESULT], script_is_text, files);
    if (!failure || said->failure)
        return;
    said->failure = failure;
    buffer_free(files);
}

/* The supervisor knows of a death that it was asked for as soon as nothing runs in the jail any more. wait4() tells of
 * it half a millisecond later, when the kernel has torn everything down. */
static _Noreturn void end(const struct jail_plan *plan, int status)
{
    jail_end(plan, status);
    _exit(status);
}

static _Noreturn void report(const struct jail_plan *plan, struct said *said, const struct limits *limits)
{
    struct stat now;
    struct buffer files = {0}, frames = {0};
    signal(SIGPIPE, SIG_IGN);
    script_flush();
    /* A script that put something else in the channel's place is not told the nonce. */
    if (fstat(REPORT, &now) || now.st_dev != channel.st_dev || now.st_ino != channel.st_ino)
        _exit(EXIT_NO_CHANNEL);
    collect(said, limits, &files);
    put_frames(&frames, said);
    if (files.failed && said->failure)
        buffer_free(&files);
    buffer_append_frame(files.length ? &files : &frames, FRAME_END, NULL, 0);
    if (frames.failed || files.failed) {
        write_bare_failure();
        _exit(EXIT_FAILED);
    }
    write_all(frames.bytes, frames.length);
    write_all(files.bytes, files.length);
    end(plan, said->failure ? EXIT_FAILED : EXIT_REPORTED);
}

/* ---- the job ---- */

/* The whole job; NULL when that cannot be had. A small one is read: to map it costs more than to copy it. */
static struct span open_job(int fd)
{
    struct stat stat;
    struct span job = {NULL, 0};
    if (fstat(fd, &stat) || stat.st_size <= 0)
        return job;
    size_t length = (size_t)stat.st_size;
    void *bytes = length <= JOB_SMALL ? malloc(length) : mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes && bytes != MAP_FAILED)
        job = (struct span){bytes, length};
    if (job.bytes && length <= JOB_SMALL && pread(fd, bytes, length, 0) != stat.st_size)
        job.bytes = NULL;
    return job;
}

static void close_job(struct span job)
{
    void *bytes = (void *)(uintptr_t)job.bytes;
    if (job.length > JOB_SMALL) {
        munmap(bytes, job.length);
        return;
    }
    explicit_bzero(bytes, job.length); /* with the nonce */
    free(bytes);
}

/* Takes the job apart: nonce, source and input, then the files, which are placed, and the patterns. Returns false where
 * *said tells why the run cannot start. A job that is not as frames.h has it is a mistake of the front's: no run. */
static bool take_job(struct span job, struct said *said)
{
    char why[1200];
    struct frame frame;
    struct span rest = job, script = {NULL, 0}, input = {NULL, 0}, path = {NULL, 0};
    bool ended = false, whole = true;
    while (!ended && frame_next(&rest, &frame) == 1) {
        switch (frame.tag) {
        case FRAME_NONCE:
            if (frame.data.length != sizeof nonce)
                _exit(EXIT_NO_CHANNEL);
            memcpy(nonce, frame.data.bytes, sizeof nonce);
            break;
        case FRAME_SCRIPT:
            script = frame.data;
            break;
        case FRAME_INPUT:
            input = frame.data;
            break;
        case FRAME_FILE_PATH:
            path = frame.data;
            break;
        case FRAME_FILE_DATA:
            whole = whole && files_place(path, frame.data, why, sizeof why) == 0;
            break;
        case FRAME_GLOB:
            if (files_want(frame.data))
                _exit(EXIT_NO_CHANNEL);
            break;
        case FRAME_END:
            ended = true;
            break;
        default:
            _exit(EXIT_NO_CHANNEL);
        }
    }
    if (!ended || !script.bytes)
        _exit(EXIT_NO_CHANNEL);
    if (whole)
        return script_load(script, input, said);
    said->failure = FAIL_FILES;
    buffer_append(&said->message, why, strlen(why));
    return false;
}

/* Waits for a job and runs it. */
static _Noreturn void serve_job(const struct jail_plan *plan)
{
    struct wire_message start;
    struct said said = {0};
    struct fault fault;
    char text[512];
    await(WIRE_START, &start);
    const struct limits limits = start.start.limits;
    if (start.fd_count > 1 && (place(start.fds[1], STDIN_FILENO, 0) || lseek(STDIN_FILENO, 0, SEEK_SET)))
        _exit(EXIT_NO_CHANNEL);
    struct span job = open_job(start.fds[0]);
    /* The only descriptors above LAST_KEPT since enter_jail(). */
    wire_close_fds(&start);
    close(CONTROL);
    if (!job.bytes)
        _exit(EXIT_NO_CHANNEL);
    int lowered = jail_lower(plan, &limits, &fault);
    bool ready = take_job(job, &said) && lowered == 0;
    close_job(job);
    if (lowered) {
        said.failure = FAIL_FILES;
        fault_text(&fault, text, sizeof text);
        buffer_append(&said.message, text, strlen(text));
    }
    if (ready)
        script_run(limits.value[LIMIT_RESULT], &said);
    report(plan, &said, &limits);
}

static void die_of(int number)
{
    signal(number, SIG_DFL);
    raise(number); /* the supervisor is asked about it: see policy.c, tgkill */
}

/* A timer's is a kernel's signal to PID 1, which drops it where nobody handles it. A script that sets a handler
 * replaces this one; Python goes on saying SIG_DFL, as it looked when it started. */
static void make_alarm_mortal(const struct jail_plan *plan)
{
    if (plan->denials && (jail_clone_flags(plan) & CLONE_NEWPID))
        signal(SIGALRM, die_of);
}

_Noreturn void child_run(const struct jail_plan *plan, struct wire_message *spawn)
{
    struct fault fault;
    sigset_t none;
    char box[sizeof spawn->spawn.box];
    snprintf(box, sizeof box, "%.*s", (int)sizeof box - 1, spawn->spawn.box);
    struct jail_cell cell = {.disk_bytes = spawn->spawn.disk_bytes, .uid = spawn->spawn.uid, .box = -1};
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    int not_joined = join_cgroups(spawn) ? errno : 0;
    if (take_descriptors(plan, spawn)) {
        fault_set(&fault, "zygote", "descriptors", errno, "a run's descriptors");
        jail_failed(&fault);
    }
    if (not_joined) {
        fault_set(&fault, "cgroup", "join", not_joined, "a run's cgroup.procs");
        jail_failed(&fault);
    }
    tools_renew();
    tools_renew_thread();
    take_short_turns(); /* what it forks is as usual */
    close_strangers(plan);
    cell.box = open_box(plan, box, &fault);
    if (*box && cell.box < 0)
        jail_failed(&fault);
    enter_jail(plan, &cell);
    if (shows_paths(plan) || plan->engine != ENGINE_CLONE)
        tools_enter(directory); /* else the zygote has been there */
    make_alarm_mortal(plan);
    if (!is_awaited()) /* else a script waits for us, and to rehearse would only keep it waiting */
        script_rehearse(false);
    serve_job(plan);
}
