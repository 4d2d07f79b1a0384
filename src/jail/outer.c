/* The command lines of bubblewrap and nsjail, and the trial of them (outer.h). */
#include "outer.h"

#include "layers.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LAYER "namespaces"
#define CHECK JAIL_LIB "/safe-script-launch"

static const struct outer *used;

/* ---- arguments ---- */

void words_add(struct words *words, const char *text)
{
    const char *copy = words->count < WORDS_MOST ? strdup(text) : NULL;
    if (copy)
        words->word[words->count++] = copy;
    words->failed = words->failed || !copy;
}

static void add_all(struct words *words, const char *const texts[])
{
    for (size_t i = 0; texts[i]; i++)
        words_add(words, texts[i]);
}

/* ---- bubblewrap ---- */

static int bubblewrap_shows(const struct root_item *item, void *words)
{
    add_all(words, (const char *const[]){item->link     ? "--symlink"
                                         : item->device ? "--dev-bind"
                                                        : "--ro-bind",
                                         item->link ? item->link : item->source, item->at, NULL});
    return 0;
}

/* All capabilities are those over the new user namespace's own; the run's first steps take some of them, and its
 * identity layer ends them. The run is PID 1, as in a clone of ours: its end is the end of everything in there. */
static int bubblewrap_command(const struct outer *outer, const struct jail_path *extra, size_t extra_count,
                              struct words *words, struct fault *fault)
{
    static const char *const spaces[] = {"--unshare-user",
                                         "--unshare-pid",
                                         "--unshare-net",
                                         "--unshare-ipc",
                                         "--unshare-uts",
                                         "--uid",
                                         "1000",
                                         "--gid",
                                         "1000",
                                         "--hostname",
                                         "jail",
                                         "--cap-add",
                                         "ALL",
                                         "--as-pid-1",
                                         "--die-with-parent",
                                         NULL};
    static const char *const closing[] = {"--dir", RUN_BOX, "--remount-ro", "/", "--chdir", "/", "--", NULL};
    _Static_assert(RUN_UID == 1000, "as the ids above have it");
    words_add(words, outer->program);
    add_all(words, spaces);
    if (root_items(extra, extra_count, bubblewrap_shows, words, fault))
        return -1;
    for (size_t i = 0; i < policy_link_count; i++)
        add_all(words, (const char *const[]){"--symlink", policy_links[i].target, policy_links[i].at, NULL});
    add_all(words, closing);
    return 0;
}

/* ---- nsjail ---- */

static bool is_policys(const char *path)
{
    bool found = false;
    for (size_t i = 0; !found && i < policy_path_count; i++) {
        size_t length = strlen(policy_paths[i].host);
        found = strncmp(path, policy_paths[i].host, length) == 0 && (path[length] == '/' || !path[length]);
    }
    return found;
}

/* Its configuration shows the policy's paths; what the interpreter needs besides comes on top. */
static int nsjail_shows(const struct root_item *item, void *words)
{
    char text[2 * 4096 + 2];
    if (is_policys(item->at))
        return 0;
    snprintf(text, sizeof text, "%s:%s", item->link ? item->link : item->source, item->at);
    add_all(words, (const char *const[]){item->link ? "--symlink" : "--bindmount_ro", text, NULL});
    return 0;
}

static int nsjail_command(const struct outer *outer, const struct jail_path *extra, size_t extra_count,
                          struct words *words, struct fault *fault)
{
    char config[4096];
    snprintf(config, sizeof config, "%s%s", outer->config ? outer->config : outer->library,
             outer->config ? "" : "/nsjail.cfg");
    add_all(words, (const char *const[]){outer->program, "--config", config, NULL});
    if (root_items(extra, extra_count, nsjail_shows, words, fault))
        return -1;
    words_add(words, "--");
    return 0;
}

/* ---- what they have in common ---- */

static const struct {
    int (*command)(const struct outer *outer, const struct jail_path *extra, size_t extra_count, struct words *words,
                   struct fault *fault);
    const char *spaces; /* the namespaces that it makes for each run */
} tools[ENGINE_COUNT] = {
    [ENGINE_BUBBLEWRAP] = {bubblewrap_command, "user pid mount net ipc uts"},
    [ENGINE_NSJAIL] = {nsjail_command, "user pid mount net ipc uts cgroup"},
};

int outer_command(const struct outer *outer, const struct jail_path *extra, size_t extra_count, struct words *words,
                  struct fault *fault)
{
    if (tools[outer->engine].command(outer, extra, extra_count, words, fault))
        return -1;
    return words->failed ? fault_set(fault, LAYER, "command", E2BIG, "%s", outer->program) : 0;
}

int outer_find(const char *name, char *path, size_t size, struct fault *fault)
{
    const char *search = getenv("PATH");
    if (strchr(name, '/')) {
        snprintf(path, size, "%s", name);
        return access(path, X_OK) ? fault_set(fault, "engine", "find", errno, "%s", name) : 0;
    }
    for (const char *at = search ? search : "/usr/bin:/bin"; *at; at += strspn(at, ":")) {
        size_t length = strcspn(at, ":");
        int written = snprintf(path, size, "%.*s/%s", (int)length, at, name);
        if (*at == '/' && written > 0 && (size_t)written < size && access(path, X_OK) == 0)
            return 0;
        at += length;
    }
    return fault_set(fault, "engine", "find", ENOENT, "%s on PATH", name);
}

void outer_use(const struct outer *outer)
{
    used = outer;
}

int outer_status(uint32_t engine, int status)
{
    enum { AS_SHELLS_HAVE_IT = 128 };
    int number = WIFEXITED(status) ? WEXITSTATUS(status) - AS_SHELLS_HAVE_IT : 0;
    return engine != ENGINE_CLONE && number > 0 && number < NSIG ? number : status;
}

int outer_check(bool nested, struct fault *fault)
{
    const struct jail_plan plan = {.engine = ENGINE_BUBBLEWRAP, .nesting_stopped = nested};
    if (nested) {
        if (namespaces_apply(&plan, fault))
            return -1;
        return unshare(CLONE_NEWUSER) && errno == ENOSPC
                   ? 0
                   : fault_set(fault, LAYER, "unshare", 0, "a nested user namespace");
    }
    if (getpid() != 1)
        return fault_set(fault, LAYER, "getpid", 0, "the run is not the first process of a pid namespace");
    if (geteuid() != RUN_UID || getegid() != RUN_UID)
        return fault_set(fault, LAYER, "geteuid", 0, "the run is %u:%u, not %d:%d", geteuid(), getegid(), RUN_UID,
                         RUN_UID);
    return root_check(fault);
}

/* ---- the probe ---- */

struct trial {
    const struct jail_plan *plan;
    const char *what; /* the argument of safe-script-launch */
};

/* As a run is begun: with its uid and without a capability. */
static _Noreturn void become_trial(const struct trial *trial, int out)
{
    struct jail_plan identity = *trial->plan;
    struct words words = {.count = 0};
    struct fault fault;
    char launcher[4096];
    snprintf(launcher, sizeof launcher, "%s/safe-script-launch", used->library);
    const struct jail_path path = {.host = launcher, .at = CHECK};
    static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    identity.layers &= LAYER_BIT(LAYER_IDENTITY);
    identity.template_namespaces = 0;
    identity.zygote_uid = identity.run_uid_count ? identity.run_uid_base : identity.zygote_uid;
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (outer_command(used, &path, 1, &words, &fault) == 0 && jail_template(&identity, NULL, 0, &fault) == 0 &&
        dup2(proc, JAIL_PROC_FD) == JAIL_PROC_FD) {
        add_all(&words, (const char *const[]){CHECK, trial->what, NULL});
        dup2(out, STDERR_FILENO);
        dup2(out, STDOUT_FILENO);
        close_range(JAIL_PROC_FD + 1, ~0U, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        execve(words.word[0], (char *const *)(uintptr_t)words.word, (char *const *)(uintptr_t)environment);
        dprintf(STDERR_FILENO, "%s: %s\n", words.word[0], strerror(errno));
    } else {
        char text[512];
        dprintf(out, "%s\n", fault_text(&fault, text, sizeof text));
    }
    _exit(127);
}

/* The last line of what it said, which is why it refused. */
static void last_line(char *text, ssize_t length)
{
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
        length--;
    text[length > 0 ? length : 0] = 0;
    char *line = strrchr(text, '\n');
    if (line)
        memmove(text, line + 1, strlen(line + 1) + 1);
}

static int try_tool(void *argument, struct fault *fault)
{
    char text[4096];
    int ends[2], status = -1;
    if (pipe2(ends, O_CLOEXEC))
        return fault_set(fault, LAYER, "pipe2", errno, "%s", used->program);
    int out = fcntl(ends[1], F_DUPFD_CLOEXEC, JAIL_PROC_FD + 1); /* not where become_trial() puts /proc */
    pid_t pid = fork();
    if (pid == 0)
        become_trial(argument, out);
    close(ends[1]);
    close(out);
    ssize_t length = 0, got;
    while ((got = read(ends[0], text + length, sizeof text - 1 - (size_t)length)) > 0)
        length += got;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return fault_set(fault, LAYER, "fork", errno, "%s", used->program);
    if (status == 0)
        return 0;
    last_line(text, length);
    return fault_set(fault, LAYER, engine_names[used->engine], 0, "%s", *text ? text : used->program);
}

int outer_probe(struct jail_plan *plan, struct layer_report *report)
{
    struct fault fault;
    struct trial trial = {plan, "--check"}, nested = {plan, "--check-nested"};
    if (in_child(LAYER, try_tool, &trial, &report->fault))
        return -1;
    plan->namespaces = CLONE_NEWPID; /* what the others have to know of them */
    plan->nesting_stopped = in_child(LAYER, try_tool, &nested, &fault) == 0;
    snprintf(report->how, sizeof report->how, "%s new, by %s%s", tools[plan->engine].spaces, engine_names[plan->engine],
             plan->nesting_stopped ? "; no nested ones" : "; nested ones need seccomp");
    return 0;
}
