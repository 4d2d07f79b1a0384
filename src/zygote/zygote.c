/* The zygote: a warm interpreter that clones itself on order. The extension module `_safe_script`.
 *
 * It believes the supervisor, whose messages come through the wire table, and reads no byte that a script wrote. Its
 * only thread takes orders for ever; no Python code runs there but the fork hooks of libraries that are not Python's.
 *
 * The interpreter is not told of a clone unless there are such hooks. What it would do is for the locks and the states
 * of other threads, of which there are none (clone_check_threads()), and costs a clone half of all its page faults. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "alarm.h"
#include "child.h"
#include "clone.h"
#include "jail.h"
#include "orders.h"
#include "pack.h"
#include "policy.h"
#include "scope.h"
#include "script.h"
#include "settle.h"
#include "tools.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int supervisor = -1; /* the socket */
static struct jail_plan plan;

/* Tells the supervisor why there is no zygote (slot 0 is none) and ends. */
static _Noreturn void refuse(const struct fault *fault)
{
    struct wire_message message = {.type = WIRE_SPAWN_FAILED, .spawn_failed = {.slot = 0, .fault = *fault}};
    wire_send(supervisor, &message);
    _exit(1);
}

/* The socket blocks; it may still have no room for descriptors, of which so many are on their way (ETOOMANYREFS). */
static void reply(const struct wire_message *message)
{
    int result;
    while ((result = wire_send(supervisor, message)) == WIRE_AGAIN)
        poll(NULL, 0, 1);
    if (result != WIRE_OK)
        _exit(1);
}

static void spawn(struct wire_message *order)
{
    struct wire_message answer = {.type = WIRE_SPAWNED, .spawned = {.slot = order->spawn.slot}};
    int cgroup = order->spawn.has_cgroup ? order->fds[SPAWN_CGROUP] : -1, pidfd = -1;
    bool told = tools_has_fork_hooks();
    if (told)
        PyOS_BeforeFork();
    pid_t pid = clone_run(jail_clone_flags(&plan), cgroup, &pidfd);
    int error = errno;
    if (pid == 0) {
        if (told) {
            PyOS_AfterFork_Child();
            tools_forget(RUN_WORK);
        }
        child_run(&plan, order);
    }
    if (told)
        PyOS_AfterFork_Parent();
    wire_close_fds(order); /* at once: the next clone must not have this one's pipes */
    if (pid < 0) {
        answer = (struct wire_message){.type = WIRE_SPAWN_FAILED, .spawn_failed = {.slot = answer.spawned.slot}};
        fault_set(&answer.spawn_failed.fault, "namespaces", "clone3", error, "a run");
    } else {
        answer.spawned.pid = (int32_t)pid;
        answer.fds[answer.fd_count++] = pidfd;
    }
    reply(&answer);
    scope_close(&pidfd);
}

/* Begun for one run, inside a jail of another make: the order waits with the plan, and there is nobody to answer. */
static _Noreturn void run_alone(void)
{
    struct wire_message order;
    script_reserve();
    if (!orders_next(supervisor, &order))
        _exit(1);
    child_run(&plan, &order);
}

/* "CPython 3.11.2" */
static void say_ready(void)
{
    struct wire_message message = {.type = WIRE_READY};
    const char *version = Py_GetVersion();
    snprintf(message.ready.version, sizeof message.ready.version, "CPython %.*s", (int)strcspn(version, " "), version);
    reply(&message);
}

/* Descriptors 0 to 2 must be taken, or a run's own would land there and be overwritten. */
static void fill_standard_descriptors(void)
{
    while (fcntl(STDIN_FILENO, F_GETFD) < 0 || fcntl(STDOUT_FILENO, F_GETFD) < 0 || fcntl(STDERR_FILENO, F_GETFD) < 0) {
        if (open("/dev/null", O_RDWR) < 0)
            _exit(1);
    }
}

/* Objects that still hold one may close its number later, even in a run: it is theirs, but leads nowhere any more. */
static void void_descriptors(int first, int last)
{
    auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = first; fd <= last; fd++) {
        if (fd != null && fcntl(fd, F_GETFD) >= 0 && dup3(null, fd, O_CLOEXEC) < 0)
            _exit(1);
    }
}

/* Called by the interpreter as sys.excepthook, with no Python frame below it. Never returns. */
static PyObject *zygote_serve(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(arguments))
{
    static const char *const traces[] = {"last_type", "last_value", "last_traceback", "last_exc"};
    struct fault fault;
    sigset_t interrupt;
    for (size_t i = 0; i < COUNT(traces); i++)
        PySys_SetObject(traces[i], NULL);
    PySys_SetObject("excepthook", PySys_GetObject("__excepthook__"));
    PyErr_Clear();
    umask(022);
    /* Python's handler would only note it, and a key pressed on the supervisor's terminal is not for us. */
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_SETMASK, &interrupt, NULL);
    fill_standard_descriptors();
    /* What the warm imports left open, but not what the template did. */
    void_descriptors(JAIL_PROC_FD + 1, JAIL_SHOWN_FD - 1);
    close_range(JAIL_SHOWN_FD + JAIL_SHOWN_MOST, ~0U, 0);
    if (wire_receive_plan(supervisor, &plan, sizeof plan) != WIRE_OK)
        _exit(1);
    if (jail_arm(&plan, &fault) || clone_prepare(&fault) || clone_check_threads(tools_threads(), &fault))
        refuse(&fault);
    if (plan.engine != ENGINE_CLONE)
        run_alone();
    if (plan.layers & LAYER_BIT(LAYER_ROOT))
        tools_enter(RUN_WORK); /* where each run will be */
    settle();
    script_reserve();
    tools_forget(RUN_WORK);
    pack(JAIL_PROC_FD);
    say_ready();
    for (struct wire_message order; orders_next(supervisor, &order);)
        spawn(&order);
    _exit(0);
}

static PyObject *zygote_prepare(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    struct fault fault;
    PyObject *given;
    if (!PyArg_ParseTuple(arguments, "iO!", &supervisor, &PyDict_Type, &given))
        return NULL;
    fcntl(supervisor, F_SETFD, FD_CLOEXEC);
    if (tools_capture(given, &fault))
        refuse(&fault);
    script_prepare();
    Py_INCREF(Py_None);
    return Py_None;
}

/* Before any import of the operator's choice, so that the descriptor is the supervisor's for sure. */
static PyObject *zygote_modules(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    struct wire_message message;
    int fd;
    if (!PyArg_ParseTuple(arguments, "i", &fd))
        return NULL;
    if (wire_receive(fd, LINK_ZYGOTE, true, &message) != WIRE_OK || message.type != WIRE_WARM)
        _exit(1);
    return PyUnicode_DecodeUTF8(message.warm.modules,
                                (Py_ssize_t)strnlen(message.warm.modules, sizeof message.warm.modules), "strict");
}

static PyObject *zygote_refuse(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    struct fault fault;
    const char *text = "it failed";
    if (!PyArg_ParseTuple(arguments, "is", &supervisor, &text))
        PyErr_Clear();
    fault_set(&fault, "zygote", "import", 0, "%s", text);
    refuse(&fault);
}

static PyObject *zygote_alarm(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return alarm_function();
}

static PyMethodDef methods[] = {
    {"alarm", zygote_alarm, METH_NOARGS, "alarm(): a signal.alarm() for the jail, where only setitimer(2) is."},
    {"prepare", zygote_prepare, METH_VARARGS, "prepare(fd, tools): takes what runs need from the interpreter."},
    {"modules", zygote_modules, METH_VARARGS, "modules(fd): what the supervisor wants to be imported, in words."},
    {"refuse", zygote_refuse, METH_VARARGS, "refuse(fd, text): tells the supervisor why there is no zygote, and ends."},
    {"serve", zygote_serve, METH_VARARGS, "serve(…): clones on the supervisor's orders until it has gone."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_safe_script", .m_methods = methods};

PyMODINIT_FUNC PyInit__safe_script(void); /* found by its name */

PyMODINIT_FUNC PyInit__safe_script(void)
{
    return PyModuleDef_Init(&definition);
}
