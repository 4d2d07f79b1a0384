/* The TLS process, as the supervisor sees it: files that it cannot open are read for it, without being understood, and
 * it is started again when it ends. The key passes through here as bytes on their way to a memory file, and is in no
 * memory that a child gets. */
#include "engine.h"

#include "log.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { FILE_BYTES = 1 << 20, ANSWER_MS = 20000, LIVED_US = 1000000 };

/* ---- the files ---- */

static int copy_bytes(int from, int to)
{
    char bytes[4096];
    ssize_t length, total = 0;
    while ((length = read(from, bytes, sizeof bytes)) > 0 && total <= FILE_BYTES) {
        if (write(to, bytes, (size_t)length) != length)
            break;
        total += length;
    }
    explicit_bzero(bytes, sizeof bytes);
    if (length != 0 && total > FILE_BYTES)
        errno = EFBIG;
    return length == 0 && fcntl(to, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0 ? 0
                                                                                                                : -1;
}

/* A file's bytes in a sealed memory file. */
static int copy_file(const char *path, const char *what, struct fault *fault)
{
    auto_fd int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    auto_fd int to = memfd_create(what, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (from < 0 || to < 0 || copy_bytes(from, to))
        return fault_set(fault, "tls", "read", errno, "%s", path);
    return take_fd(&to);
}

static int files_read(struct tls_files *files, const struct settings *settings, struct fault *fault)
{
    struct tls_files fresh = {-1, -1};
    fresh.certificate = copy_file(settings->tls_certificate, "certificate", fault);
    fresh.key = fresh.certificate < 0 ? -1 : copy_file(settings->tls_key, "key", fault);
    if (fresh.key < 0) {
        drop_fd(&fresh.certificate);
        return -1;
    }
    drop_fd(&files->certificate);
    drop_fd(&files->key);
    *files = fresh;
    return 0;
}

static struct wire_message setup_of(const struct settings *settings, const struct tls_files *files)
{
    struct wire_message message = {.type = WIRE_TLS_SETUP, .fds = {files->certificate, files->key}, .fd_count = 2};
    message.tls_setup = (struct wire_tls_setup){
        .timeout_ms = settings->body_timeout_ms,
        .log_level = (uint32_t)settings->log_level,
        .log_format = (uint32_t)settings->log_format,
    };
    return message;
}

static void warn_of_readers(const struct settings *settings)
{
    struct stat info;
    if (stat(settings->tls_key, &info) == 0 && info.st_mode & S_IRWXO)
        log_event(LOG_WARNING, "everybody on this machine may read the private key",
                  log_text("tls_key", settings->tls_key));
}

/* ---- a look at them, before anything is begun ---- */

static int ask(int socket, const struct wire_message *setup, struct fault *fault)
{
    struct wire_message answer;
    struct pollfd ready = {.fd = socket, .events = POLLIN};
    if (wire_send(socket, setup) != WIRE_OK || poll(&ready, 1, ANSWER_MS) <= 0 ||
        wire_receive(socket, LINK_TLS, false, &answer) != WIRE_OK)
        return fault_set(fault, "tls", "check", 0, "safe-script-tls does not answer");
    if (answer.tls_answer.refused)
        *fault = answer.tls_answer.fault;
    return answer.tls_answer.refused ? -1 : 0;
}

int tls_check(const struct settings *settings, const char *library, bool quiet, struct fault *fault)
{
    static char name[] = "safe-script-tls", *const argv[] = {name, NULL}, *const environment[] = {NULL};
    struct tls_files files = {-1, -1};
    char path[4096 + 32];
    int pair[2];
    if (!settings->tls_certificate)
        return 0;
    snprintf(path, sizeof path, "%s/safe-script-tls", library);
    if (files_read(&files, settings, fault))
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return fault_set(fault, "tls", "socketpair", errno, "a check");
    pid_t pid = fork();
    if (pid == 0) {
        if (pair[1] == 3 ? fcntl(3, F_SETFD, 0) == 0 : dup2(pair[1], 3) == 3)
            execve(path, argv, environment);
        _exit(127);
    }
    close(pair[1]);
    struct wire_message setup = setup_of(settings, &files);
    if (quiet)
        setup.tls_setup.log_level = LOG_ERROR;
    else
        warn_of_readers(settings);
    int result = pid < 0 ? fault_set(fault, "tls", "fork", errno, "%s", path) : ask(pair[0], &setup, fault);
    close(pair[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    drop_fd(&files.certificate);
    drop_fd(&files.key);
    return result;
}

/* ---- its life ---- */

bool tls_wanted(const struct engine *engine)
{
    for (size_t i = 0; i < engine->listening_count; i++) {
        if (engine->listening[i].tls)
            return true;
    }
    return false;
}

int tls_fits(const struct engine *engine, const struct settings *settings, struct fault *fault)
{
    if (listen_check(settings, fault))
        return -1;
    if (tls_wanted(engine) && !settings->tls_key)
        return fault_set(fault, "tls", "check", 0, "a socket that was passed to us as \"tls\" needs tls_certificate");
    if (!tls_wanted(engine) && settings->tls_key)
        return fault_set(fault, "tls", "check", 0, "tls_certificate is set, and no address begins with tls:");
    return 0;
}

int tls_open(struct engine *engine, struct fault *fault)
{
    struct tls *tls = &engine->tls;
    if (!tls_wanted(engine))
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, tls->clients))
        return fault_set(fault, "tls", "socketpair", errno, "for clients");
    shutdown(tls->clients[1], SHUT_WR); /* the front's: nothing goes back */
    warn_of_readers(engine->settings);
    return files_read(&tls->files, engine->settings, fault);
}

void tls_start(struct engine *engine)
{
    struct tls *tls = &engine->tls;
    struct wire_message setup = setup_of(engine->settings, &tls->files);
    if (!child_begin(engine, &tls->child, BEGUN_TLS, 0)) {
        child_ended(&tls->child, false);
        return;
    }
    setup.tls_setup.inherited = engine->listening[0].inherited;
    setup.fds[setup.fd_count++] = tls->clients[0];
    for (size_t i = 0; i < engine->listening_count; i++) {
        if (engine->listening[i].tls)
            setup.fds[setup.fd_count++] = engine->listening[i].fd;
    }
    tls->asked = wire_send(tls->child.socket, &setup) == WIRE_OK;
    if (!tls->asked)
        log_event(LOG_ERROR, "the TLS process did not take its setup");
    tls_tell_state(engine);
}

void tls_tell_state(struct engine *engine)
{
    struct wire_message message = {.type = WIRE_TLS_STATE, .state = {.serving = engine->serving}};
    if (engine->tls.child.socket >= 0)
        wire_send(engine->tls.child.socket, &message);
}

void tls_lost(struct engine *engine, int status)
{
    struct tls *tls = &engine->tls;
    child_ended(&tls->child, now_us() - tls->child.started_us > LIVED_US);
    tls->again |= tls->fresh.key >= 0;
    tls->asked = false;
    drop_fd(&tls->fresh.certificate);
    drop_fd(&tls->fresh.key);
    if (!engine->draining)
        log_event(LOG_ERROR, "the TLS process ended and is started again", log_number("status", status));
}

/* The first is to files that were checked before it was begun. */
static void answered(struct engine *engine, const struct wire_tls_answer *answer)
{
    struct tls *tls = &engine->tls;
    tls->asked = false;
    if (answer->refused)
        log_fault(LOG_ERROR, "the certificate is not taken", &answer->fault);
    tls->child.ready |= !answer->refused;
    if (tls->fresh.key >= 0) {
        struct tls_files *left = answer->refused ? &tls->fresh : &tls->files;
        drop_fd(&left->certificate);
        drop_fd(&left->key);
        if (!answer->refused) {
            tls->files = tls->fresh;
            log_event(LOG_INFO, "the certificate was read again");
        }
        tls->fresh = (struct tls_files){-1, -1};
    }
    if (tls->again)
        tls_reload(engine);
}

void tls_event(struct engine *engine)
{
    struct tls *tls = &engine->tls;
    struct wire_message message;
    int result = wire_receive(tls->child.socket, LINK_TLS, false, &message);
    if (result == WIRE_OK)
        answered(engine, &message.tls_answer);
    if (result == WIRE_OK || result == WIRE_AGAIN)
        return;
    child_kill(&tls->child);
    drop_fd(&tls->child.socket); /* wait4() tells the rest */
}

void tls_reload(struct engine *engine)
{
    struct tls *tls = &engine->tls;
    struct fault fault;
    if (!tls_wanted(engine))
        return;
    tls->again = tls->asked || tls->child.socket < 0;
    if (tls->again)
        return; /* when it has answered */
    if (files_read(&tls->fresh, engine->settings, &fault)) {
        log_fault(LOG_ERROR, "the certificate is not taken", &fault);
        return;
    }
    struct wire_message setup = setup_of(engine->settings, &tls->fresh);
    tls->asked = wire_send(tls->child.socket, &setup) == WIRE_OK;
    if (!tls->asked)
        log_event(LOG_ERROR, "the TLS process did not take the new certificate");
}
