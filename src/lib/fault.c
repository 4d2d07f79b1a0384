#include "fault.h"

#include "scope.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a person can do, by what refused. The first row that matches wins; NULL and 0 match anything. */
static const struct {
    const char *layer, *operation;
    int error;
    const char *hint;
} hints[] = {
    {"namespaces", NULL, EPERM,
     "new user namespaces are refused here: sysctl kernel.apparmor_restrict_unprivileged_userns=0 or "
     "kernel.unprivileged_userns_clone=1, or start as root; in Docker add --security-opt seccomp=unconfined, or "
     "seccomp= "
     "our docker-seccomp.json"},
    {"namespaces", NULL, ENOSPC,
     "no more namespaces may be made: raise sysctl user.max_user_namespaces, or start as root"},
    {"namespaces", NULL, EUSERS, "user namespaces are nested too deep here"},
    {"namespaces", NULL, ENOSYS,
     "clone3 is refused here (Docker's default seccomp profile does that): start with "
     "--security-opt seccomp=unconfined, or seccomp= our docker-seccomp.json"},
    {"root", NULL, EPERM, "mounting is refused here: needs a user namespace, or CAP_SYS_ADMIN"},
    {"cgroup", NULL, EACCES, "no cgroup is delegated to this user: start as root, or by systemd with Delegate=yes"},
    {"cgroup", NULL, EPERM, "no cgroup is delegated to this user: start as root, or by systemd with Delegate=yes"},
    {"cgroup", NULL, EROFS,
     "the cgroup file system is read-only here: in Docker add --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup, and "
     "start as root"},
    {"cgroup", NULL, ENOENT, "no memory and pids cgroup controller is mounted here"},
    {"landlock", NULL, ENOSYS, "this kernel was built without Landlock (5.13 or later, CONFIG_SECURITY_LANDLOCK)"},
    {"landlock", NULL, EOPNOTSUPP, "Landlock is built in but not enabled: boot with lsm=landlock,…"},
    {"seccomp", "action", EINVAL, "this kernel does not say that its filters can end a process (Linux 4.14 or later)"},
    {"seccomp", NULL, EINVAL, "this kernel was built without seccomp filters (CONFIG_SECCOMP_FILTER)"},
    {"supervisor", "pidfd_open", ENOSYS, "Linux 5.3 or later is needed"},
    {"identity", NULL, EPERM, "only root (CAP_SETUID) can give each run a uid of its own"},
    {"listen", NULL, EADDRINUSE, "another program listens there: choose another address with --listen or PORT"},
    {"listen", NULL, EACCES, "ports below 1024 need root (CAP_NET_BIND_SERVICE): choose another with --listen or PORT"},
    {"listen", NULL, EADDRNOTAVAIL, "this machine does not have that address"},
    {"listen", "expose", 0,
     "without keys everybody who reaches that address could run scripts: make a keys_file with safe-script key, or say "
     "open_to_all = yes"},
    {"engine", NULL, ENOENT, "install the tool, or say where it is with --bubblewrap or --nsjail"},
    {"engine", NULL, EACCES, "the tool is not executable for the server's user"},
    {"interpreter", NULL, ENOENT, "no such interpreter: name one with --python"},
    {"interpreter", NULL, EACCES, "the interpreter is not executable for the server's user"},
    {NULL, NULL, EMFILE, "too many open files: raise the server's limit (ulimit -n)"},
    {NULL, NULL, ENFILE, "the machine has too many open files: sysctl fs.file-max"},
    {NULL, NULL, ENOMEM, "the machine is out of memory, or a limit on it was reached"},
};

int fault_set(struct fault *fault, const char *layer, const char *operation, int error, const char *object_format, ...)
{
    va_list arguments;
    snprintf(fault->layer, sizeof fault->layer, "%s", layer);
    snprintf(fault->operation, sizeof fault->operation, "%s", operation);
    fault->error = error;
    va_start(arguments, object_format);
    vsnprintf(fault->object, sizeof fault->object, object_format, arguments);
    va_end(arguments);
    return -1;
}

const char *fault_hint(const struct fault *fault)
{
    for (size_t i = 0; i < COUNT(hints); i++) {
        if ((!hints[i].layer || strcmp(hints[i].layer, fault->layer) == 0) &&
            (!hints[i].operation || strcmp(hints[i].operation, fault->operation) == 0) &&
            (!hints[i].error || hints[i].error == fault->error))
            return hints[i].hint;
    }
    return NULL;
}

char *fault_text(const struct fault *fault, char *text, size_t size)
{
    const char *hint = fault_hint(fault);
    snprintf(text, size, "%.*s: %.*s(%.*s)%s%s%s%s%s", (int)sizeof fault->layer, fault->layer,
             (int)sizeof fault->operation, fault->operation, (int)sizeof fault->object, fault->object,
             fault->error ? ": " : "", fault->error ? strerror(fault->error) : "", hint ? " (" : "", hint ? hint : "",
             hint ? ")" : "");
    return text;
}
