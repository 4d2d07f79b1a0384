/* signal.alarm() by setitimer(2): of the two system calls the jail allows the one that can do both. A function of C, so
 * that no frame and no name of ours comes into a script's reach; it is bound to no module. */
#ifndef SAFE_SCRIPT_ALARM_H
#define SAFE_SCRIPT_ALARM_H

/* A new reference, or NULL with a Python exception. */
PyObject *alarm_function(void);

#endif
