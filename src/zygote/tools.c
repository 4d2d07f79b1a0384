#include "tools.h"

#include "policy.h"
#include "scope.h"
#include "text.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No two runs have the same. */
enum { SEED_BYTES = 32 };

struct tools tools;

/* By the bootstrap's names for them. */
static const struct {
    const char *name;
    PyObject **kept;
} table[] = {
    {"compile", &tools.compile},
    {"read_input", &tools.read_input},
    {"parameter", &tools.parameter},
    {"search", &tools.search},
    {"format_exception", &tools.format_exception},
    {"line_cache", &tools.line_cache},
    {"coroutine", &tools.coroutine},
    {"function", &tools.function},
    {"type_name", &tools.type_name},
    {"type_module", &tools.type_module},
    {"error_number", &tools.error_number},
    {"bit_length", &tools.bit_length},
    {"stdout", &tools.stdout},
    {"stderr", &tools.stderr},
    {"flush", &tools.flush},
    {"random_seed", &tools.random_seed},
    {"renew", &tools.renew},
    {"renew_thread", &tools.renew_thread},
    {"calm", &tools.calm},
    {"threads", &tools.threads},
    {"fork_hooks", &tools.fork_hooks},
    {"settle", &tools.settle},
    {"rehearsal", &tools.rehearsal},
    {"builtins", &tools.builtins},
};

int tools_capture(PyObject *given, struct fault *fault)
{
    for (size_t i = 0; i < COUNT(table); i++) {
        *table[i].kept = PyDict_GetItemString(given, table[i].name);
        if (!*table[i].kept)
            return fault_set(fault, "zygote", "prepare", 0, "the bootstrap gave no %s", table[i].name);
        Py_INCREF(*table[i].kept);
    }
    return 0;
}

size_t tools_threads(void)
{
    size_t count = PyLong_AsSize_t(tools.threads);
    PyErr_Clear();
    return count;
}

bool tools_has_fork_hooks(void)
{
    return tools.fork_hooks != Py_False;
}

void tools_call_each(PyObject *callables)
{
    for (Py_ssize_t i = 0; i < PyTuple_Size(callables); i++) {
        Py_XDECREF(PyObject_CallObject(PyTuple_GetItem(callables, i), NULL));
        PyErr_Clear();
    }
}

/* In C, as Python code would write to ten pages for it. Rather no run than one with the numbers of another. */
static void renew_random(void)
{
    uint8_t bytes[SEED_BYTES];
    char text[2 * SEED_BYTES + 1];
    if (getentropy(bytes, sizeof bytes))
        _exit(EXIT_NO_CHANNEL);
    text_hex(bytes, sizeof bytes, text);
    PyObject *seed = PyTuple_GetItem(tools.random_seed, 0), *generator = PyTuple_GetItem(tools.random_seed, 1);
    PyObject *number = PyLong_FromString(text, NULL, 16);
    PyObject *done = number ? PyObject_CallFunctionObjArgs(seed, generator, number, NULL) : NULL;
    if (!done)
        _exit(EXIT_NO_CHANNEL);
    Py_DECREF(number);
    Py_DECREF(done);
}

void tools_renew(void)
{
    renew_random();
    tools_call_each(tools.renew);
}

void tools_renew_thread(void)
{
    if (syscall(SYS_gettid) != 1) /* what the bootstrap has said of it */
        tools_call_each(tools.renew_thread);
}

void tools_enter(const char *directory)
{
    PyObject *path = PySys_GetObject("path"), *first = PyUnicode_DecodeFSDefault(directory);
    if (path && first)
        PyList_Insert(path, 0, first);
    if (first && strcmp(directory, RUN_WORK) != 0)
        Py_XDECREF(PyObject_CallFunctionObjArgs(tools.settle, first, NULL));
    Py_XDECREF(first);
    PyErr_Clear();
}

void tools_forget(const char *directory)
{
    PyObject *cache = PySys_GetObject("path_importer_cache");
    if (cache && PyDict_Check(cache) && PyDict_GetItemString(cache, directory))
        PyDict_DelItemString(cache, directory);
    PyErr_Clear();
}
