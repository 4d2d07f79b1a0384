#include "interpreter.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* One line per answer; directories that the running of scripts needs come as "path …", what is installed in them beside
 * the standard library as "package NAME VERSION"; modules among those asked for that it has not as "missing NAME". The
 * bootstrap puts the path in the same place. */
static const char question[] =
    "import sys,os,platform,glob\n"
    "from importlib.util import find_spec\n"
    "extra=[d for d in sys.argv[1].split(':') if d]\n"
    "at=next((i for i,d in enumerate(sys.path) if d.endswith('-packages')),len(sys.path))\n"
    "sys.path[at:at]=extra\n"
    "i=sys.implementation\n"
    "print('version',platform.python_implementation(),'%d.%d.%d'%sys.version_info[:3])\n"
    "print('hex','%08x'%sys.hexversion,'t'in getattr(sys,'abiflags','')and'free'or'')\n"
    "p=[sys.executable,os.path.realpath(sys.executable)]\n"
    "e=sys.executable\n"
    "while os.path.islink(e):\n"
    "    e=os.path.join(os.path.dirname(e),os.readlink(e)); p.append(e)\n"
    "own=lambda d:d not in('/','/usr','/usr/local')\n"
    "p+=[d for d in(sys.prefix,sys.exec_prefix,sys.base_prefix,sys.base_exec_prefix)if own(d)]\n"
    "p+=[d for d in sys.path if d]\n"
    "p.append(os.path.dirname(os.__file__))\n"
    "s=getattr(sys.modules.get('sitecustomize'),'__file__',None)\n" /* the operator's: a link into /etc in Debian */
    "p+=[os.path.realpath(s)]if s else[]\n"
    "for d in dict.fromkeys(p):\n"
    "    if os.path.exists(d) and '\\n' not in d: print('text'if d.endswith('.py')and os.path.isfile(d)else'path',d)\n"
    "found={}\n"
    "for d in sys.path:\n"
    "    for f in glob.glob(os.path.join(glob.escape(d),'*-*.*-info')):\n"
    "        n,v=os.path.basename(f).rpartition('.')[0].split('-')[:2]\n"
    "        if n.isprintable() and v.isprintable() and ' ' not in n: found.setdefault(n,v)\n"
    "for n in sorted(found,key=str.lower)[:1000]: print('package',n,found[n])\n"
    "for n in sys.argv[2].split():\n"
    "    if not find_spec(n.partition('.')[0]): print('missing',n)\n";

static void interpreter_ask(const char *executable, const char *path, const char *modules, uid_t uid, int out)
{
    const char *const argv[] = {executable, "-I", "-B", "-c", question, path, modules, NULL};
    const char *const envp[] = {"LANG=C.UTF-8", "PATH=/usr/bin:/bin", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (uid) {
        /* Reading stays possible below directories that only root may enter; nothing else does. */
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct data[2] = {{0}};
        data[0].effective = data[0].permitted = data[0].inheritable = UINT32_C(1) << CAP_DAC_READ_SEARCH;
        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || syscall(SYS_setgroups, 0, NULL) ||
            syscall(SYS_setresgid, uid, uid, uid) || syscall(SYS_setresuid, uid, uid, uid))
            _exit(126);
        if (syscall(SYS_capset, &header, data) == 0)
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (dup2(out, STDOUT_FILENO) < 0 || chdir("/"))
        _exit(126);
    execve(executable, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)envp);
    _exit(errno == ENOENT ? 127 : 126);
}

/* Reads all of fd into text, for at most ten seconds. Returns the length, or -1. */
static ssize_t read_answer(int fd, char *text, size_t size)
{
    size_t length = 0;
    while (length + 1 < size) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (poll(&poll_fd, 1, 10000) <= 0)
            return -1;
        ssize_t got = read(fd, text + length, size - length - 1);
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    text[length] = 0;
    return (ssize_t)length;
}

/* "NAME VERSION" */
static void take_package(struct interpreter *interpreter, char *text)
{
    char *space = strchr(text, ' ');
    if (!space || interpreter->package_count == INTERPRETER_PACKAGES)
        return;
    *space = 0;
    interpreter->packages[interpreter->package_count++] = (struct interpreter_package){text, space + 1};
}

static void add_missing(struct interpreter *interpreter, const char *name)
{
    size_t length = strlen(interpreter->missing);
    snprintf(interpreter->missing + length, sizeof interpreter->missing - length, "%s ", name);
}

bool has_word(const char *words, const char *word, size_t length)
{
    for (const char *at = words + strspn(words, " "); *at; at += strspn(at, " ")) {
        size_t size = strcspn(at, " ");
        if (size == length && strncmp(at, word, length) == 0)
            return true;
        at += size;
    }
    return false;
}

bool interpreter_has_package(const struct interpreter *interpreter, const char *name)
{
    for (size_t i = 0; i < interpreter->package_count; i++) {
        if (strcasecmp(interpreter->packages[i].name, name) == 0)
            return true;
    }
    return false;
}

/* "030e00f0 free": what follows the number says that threads run free of each other. */
static bool hex_of(const char *text, unsigned long *hex)
{
    char *rest;
    *hex = strtoul(text, &rest, 16);
    return strcmp(rest, " free") == 0;
}

/* "text " is a file that is only read. */
static bool is_shown(const char *line)
{
    return strncmp(line, "path ", 5) == 0 || strncmp(line, "text ", 5) == 0;
}

static int take_answer(struct interpreter *interpreter, const char *python, struct fault *fault)
{
    unsigned long hex = 0;
    char *save = NULL;
    bool free_threaded = false;
    for (char *line = strtok_r(interpreter->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "version ", 8) == 0)
            snprintf(interpreter->version, sizeof interpreter->version, "%s", line + 8);
        else if (strncmp(line, "hex ", 4) == 0)
            free_threaded = hex_of(line + 4, &hex);
        else if (strncmp(line, "package ", 8) == 0)
            take_package(interpreter, line + 8);
        else if (strncmp(line, "missing ", 8) == 0)
            add_missing(interpreter, line + 8);
        else if (is_shown(line) && interpreter->path_count == INTERPRETER_PATHS)
            return fault_set(fault, "interpreter", "path", E2BIG, "%s has more than %d directories in sys.path", python,
                             INTERPRETER_PATHS);
        else if (is_shown(line))
            interpreter->paths[interpreter->path_count++] =
                (struct jail_path){.host = line + 5, .optional = true, .data = *line == 't'};
    }
    if (strncmp(interpreter->version, "CPython ", 8) != 0 || hex < 0x03090000)
        return fault_set(fault, "interpreter", "version", 0, "%s is %s; CPython 3.9 or later is needed", python,
                         *interpreter->version ? interpreter->version : "no Python");
    if (free_threaded) /* its objects are others than the stable ABI's */
        return fault_set(fault, "interpreter", "build", 0,
                         "%s is a free-threaded %s; one with the global lock is needed", python, interpreter->version);
    return 0;
}

int interpreter_find(struct interpreter *interpreter, const char *python, const char *path, const char *modules,
                     uid_t uid, struct fault *fault)
{
    int pipe_fds[2], status = 0;
    memset(interpreter, 0, sizeof *interpreter);
    interpreter->path = path;
    if (*python != '/')
        return fault_set(fault, "interpreter", "open", 0, "%s: give the interpreter as an absolute path", python);
    if (access(python, X_OK))
        return fault_set(fault, "interpreter", "exec", errno, "%s", python);
    snprintf(interpreter->executable, sizeof interpreter->executable, "%s", python);
    if (pipe2(pipe_fds, O_CLOEXEC))
        return fault_set(fault, "interpreter", "pipe2", errno, "%s", python);
    auto_fd int in = pipe_fds[0];
    pid_t pid = fork();
    if (pid == 0)
        interpreter_ask(interpreter->executable, path, modules, uid, pipe_fds[1]);
    close(pipe_fds[1]);
    if (pid < 0)
        return fault_set(fault, "interpreter", "fork", errno, "%s", python);
    ssize_t length = read_answer(in, interpreter->text, sizeof interpreter->text);
    if (length < 0)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    if (length < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
        return fault_set(fault, "interpreter", "run", 0, "%s did not run as a Python interpreter (status 0x%x)", python,
                         (unsigned)status);
    return take_answer(interpreter, python, fault);
}
