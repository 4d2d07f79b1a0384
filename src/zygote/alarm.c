#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "alarm.h"

#include <errno.h>
#include <sys/time.h>

/* As alarm(2) counts: what is left is rounded to seconds, but never to none. */
static long seconds_left(const struct timeval *left)
{
    return left->tv_sec + (left->tv_usec >= 500000 || (left->tv_sec == 0 && left->tv_usec > 0));
}

static PyObject *set_alarm(PyObject *self, PyObject *seconds)
{
    struct itimerval old, new = {.it_value.tv_sec = PyLong_AsLong(seconds)};
    (void)self;
    if (new.it_value.tv_sec == -1 && PyErr_Occurred())
        return NULL;
    if (setitimer(ITIMER_REAL, &new, &old))
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(seconds_left(&old.it_value));
}

PyObject *alarm_function(void)
{
    static PyMethodDef definition = {"alarm", set_alarm, METH_O,
                                     "alarm($module, seconds, /)\n--\n\nArrange for SIGALRM to arrive after the given "
                                     "number of seconds."};
    PyObject *name = PyUnicode_FromString("signal");
    PyObject *function = name ? PyCFunction_NewEx(&definition, NULL, name) : NULL;
    Py_XDECREF(name);
    return function;
}
