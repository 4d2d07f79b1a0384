#include "script.h"

#include "encode.h"
#include "policy.h"
#include "scope.h"
#include "tools.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The longest texts that a report carries. */
enum { TYPE_MOST = 1024, MESSAGE_MOST = 4096, TRACEBACK_MOST = 32768 };

static const char file_name[] = "script.py";

/* Address space that is given back before a failure is described, so that a report of MemoryError has room. Never
 * touched, so it costs nothing; it counts for RLIMIT_AS only. */
static void *reserve = MAP_FAILED;
enum { RESERVE_BYTES = 4 << 20 };

static struct encode_tools encode_tools;
static PyObject *source, *input, *globals; /* of the run */
static bool has_input, top_level;
static long first_pid; /* by the system call: getpid() of a forked child differs */

void script_prepare(void)
{
    encode_tools = (struct encode_tools){
        .type_name = tools.type_name, .type_module = tools.type_module, .bit_length = tools.bit_length};
}

void script_reserve(void)
{
    reserve = mmap(NULL, RESERVE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

bool script_is_text(const char *name)
{
    PyObject *text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "strict");
    PyErr_Clear();
    Py_XDECREF(text);
    return text != NULL;
}

/* ---- saying what failed ---- */

/* Appends the text of a str, at most `most` bytes, cut where a character ends. Surrogates become "?". */
static void put_cut(struct buffer *out, PyObject *string, size_t most)
{
    char *bytes;
    Py_ssize_t length;
    PyObject *cut = PyUnicode_Substring(string, 0, (Py_ssize_t)(most - out->length));
    PyObject *utf8 = cut ? PyUnicode_AsEncodedString(cut, "utf-8", "replace") : NULL;
    if (utf8 && PyBytes_AsStringAndSize(utf8, &bytes, &length) == 0) {
        if ((size_t)length > most - out->length) {
            length = (Py_ssize_t)(most - out->length);
            while (length > 0 && (bytes[length] & 0xc0) == 0x80)
                length--;
        }
        buffer_append(out, bytes, (size_t)length);
    }
    PyErr_Clear();
    Py_XDECREF(utf8);
    Py_XDECREF(cut);
}

static void put_literal(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

static void fail(struct said *said, enum failure failure, const char *type, const char *message)
{
    said->failure = failure;
    put_literal(&said->type, type);
    put_literal(&said->message, message);
}

static bool is_a(PyObject *value, PyObject *type)
{
    return value && PyErr_GivenExceptionMatches((PyObject *)Py_TYPE(value), type);
}

/* errno of an OSError, by OSError's own descriptor; 0 for none. */
static long error_number(PyObject *value)
{
    PyObject *number = PyObject_CallMethod(tools.error_number, "__get__", "O", value);
    long result = number && PyLong_Check(number) ? PyLong_AsLong(number) : 0;
    Py_XDECREF(number);
    PyErr_Clear();
    return result;
}

static PyObject *attribute(PyObject *object, const char *name)
{
    PyObject *value = object ? PyObject_GetAttrString(object, name) : NULL;
    PyErr_Clear();
    return value;
}

/* The deepest entry of a traceback, or the deepest one of the script's own file; borrowed, NULL for none. `number` is
 * its line. The objects are the interpreter's own, which cannot be subclassed; a cycle in them is refused by it. */
static PyObject *deepest_code(PyObject *traceback, bool of_script, uint32_t *number)
{
    PyObject *found = NULL, *next;
    Py_XINCREF(traceback);
    for (PyObject *at = traceback; at && at != Py_None; at = next) {
        PyObject *frame = attribute(at, "tb_frame"), *code = attribute(frame, "f_code");
        PyObject *file = attribute(code, "co_filename"), *line = attribute(at, "tb_lineno");
        if (code &&
            (!of_script || (file && PyUnicode_Check(file) && PyUnicode_CompareWithASCIIString(file, file_name) == 0))) {
            found = code; /* kept by its frame, and that by the traceback */
            long value = line && PyLong_Check(line) ? PyLong_AsLong(line) : 0;
            *number = value > 0 && value < UINT32_MAX ? (uint32_t)value : 0;
        }
        Py_XDECREF(line);
        Py_XDECREF(file);
        Py_XDECREF(code);
        Py_XDECREF(frame);
        next = attribute(at, "tb_next");
        Py_DECREF(at);
    }
    PyErr_Clear();
    return found;
}

/* EAGAIN is also what a read without data says: it was a fork when the code that it comes from forks. */
static bool came_from_fork(PyObject *traceback)
{
    static const char *const names[] = {"fork", "forkpty", "fork_exec", "_fork_exec", "posix_spawn", "posix_spawnp"};
    uint32_t line;
    PyObject *used = attribute(deepest_code(traceback, false, &line), "co_names");
    bool found = false;
    for (size_t i = 0; used && PyTuple_Check(used) && i < COUNT(names); i++) {
        for (Py_ssize_t j = 0; j < PyTuple_Size(used); j++)
            found |= PyUnicode_CompareWithASCIIString(PyTuple_GetItem(used, j), names[i]) == 0;
    }
    Py_XDECREF(used);
    return found;
}

static bool is_no_thread(PyObject *value)
{
    bool equal = false;
    /* Of RuntimeError itself: a subclass's __str__ would be the script's. */
    PyObject *text = value && (PyObject *)Py_TYPE(value) == PyExc_RuntimeError ? PyObject_Str(value) : NULL;
    if (text)
        equal = PyUnicode_CompareWithASCIIString(text, "can't start new thread") == 0;
    PyErr_Clear();
    Py_XDECREF(text);
    return equal;
}

static enum failure classify(PyObject *value, PyObject *traceback)
{
    if (is_a(value, PyExc_MemoryError))
        return FAIL_MEMORY;
    long number = is_a(value, PyExc_OSError) ? error_number(value) : 0;
    if (number == ENOSPC || number == EDQUOT || number == EFBIG) /* EFBIG: RLIMIT_FSIZE, which is the disk's size */
        return FAIL_DISK;
    if ((number == EAGAIN && came_from_fork(traceback)) || is_no_thread(value))
        return FAIL_PROCESSES;
    return FAIL_RAISED;
}

/* The lines that tracebacks show. One entry of length 1 is linecache's lazy form: called when they are wanted. */
static void show_source(PyObject *text, bool whole)
{
    PyObject *entry = NULL, *lines = whole ? PyUnicode_Splitlines(text, 1) : PyObject_GetAttrString(text, "__str__");
    if (lines && whole)
        entry = Py_BuildValue("(nOOs)", PyUnicode_GetLength(text), Py_None, lines, file_name);
    else if (lines)
        entry = Py_BuildValue("(O)", lines);
    if (entry)
        PyDict_SetItemString(tools.line_cache, file_name, entry);
    Py_XDECREF(entry);
    Py_XDECREF(lines);
    PyErr_Clear();
}

static void put_traceback(struct buffer *out, PyObject *value, PyObject *traceback)
{
    show_source(source, true);
    PyObject *texts = PyObject_CallFunctionObjArgs(tools.format_exception, (PyObject *)Py_TYPE(value), value,
                                                   traceback ? traceback : Py_None, NULL);
    for (Py_ssize_t i = 0; texts && PyList_Check(texts) && i < PyList_Size(texts); i++) {
        PyObject *text = PyList_GetItem(texts, i);
        if (text && PyUnicode_Check(text) && out->length < TRACEBACK_MOST)
            put_cut(out, text, TRACEBACK_MOST);
    }
    PyErr_Clear();
    Py_XDECREF(texts);
}

static void put_message(struct buffer *out, PyObject *value)
{
    PyObject *text = PyObject_Str(value);
    if (text)
        put_cut(out, text, MESSAGE_MOST);
    else
        put_literal(out, "<exception str() failed>");
    PyErr_Clear();
    Py_XDECREF(text);
}

static void put_type(struct buffer *out, PyObject *value)
{
    PyObject *name = encode_type_text(tools.type_name, (PyObject *)Py_TYPE(value));
    if (name)
        put_cut(out, name, TYPE_MOST);
    Py_XDECREF(name);
}

/* Takes away what the script may have set that would get in the way of the report, its signal handlers' turn included.
 */
static void calm(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    tools_call_each(tools.calm);
}

/* ---- ends without a report ---- */

void script_flush(void)
{
    PyObject *const streams[] = {tools.stdout, tools.stderr};
    static const char *const names[] = {"stdout", "stderr"};
    for (size_t i = 0; i < COUNT(streams); i++) {
        PyObject *put_there = PySys_GetObject(names[i]);
        if (put_there && put_there != streams[i] && put_there != Py_None) {
            Py_INCREF(put_there);
            Py_XDECREF(PyObject_CallMethod(put_there, "flush", NULL));
            PyErr_Clear();
        }
        Py_XDECREF(PyObject_CallFunctionObjArgs(tools.flush, streams[i], NULL));
        PyErr_Clear();
    }
}

static void print_to_stderr(PyObject *value)
{
    PyObject *stream = PySys_GetObject("stderr");
    if (!stream || stream == Py_None)
        return;
    Py_INCREF(stream);
    if (PyFile_WriteObject(value, stream, Py_PRINT_RAW) == 0)
        PyFile_WriteString("\n", stream);
    PyErr_Clear();
}

/* SystemExit as Python's own main has it. */
static _Noreturn void leave(PyObject *exit_exception)
{
    PyObject *code = attribute(exit_exception, "code");
    int status = 0;
    if (code && PyLong_Check(code)) {
        status = (int)PyLong_AsLong(code);
        PyErr_Clear();
    } else if (code && code != Py_None) {
        print_to_stderr(code);
        status = 1;
    }
    script_flush();
    _exit(status & 0xff);
}

/* A process that the script forked came here, too, with a copy of all that it would take to report; it must not. */
static void leave_if_forked(PyObject *value, PyObject *traceback)
{
    if (syscall(SYS_getpid) == first_pid)
        return;
    if (value) {
        struct buffer text = {0};
        put_traceback(&text, value, traceback);
        PyObject *string = PyUnicode_DecodeUTF8((const char *)text.bytes, (Py_ssize_t)text.length, "replace");
        if (string)
            print_to_stderr(string);
    }
    script_flush();
    _exit(value != NULL);
}

/* ---- failures ---- */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* what follows them in 3.12 is not in 3.9 */

/* The exception that is set, as objects; it is cleared. *traceback may be NULL. The references stay: nothing of a
 * script's is finalized from here on. */
static PyObject *take_exception(PyObject **traceback)
{
    PyObject *type, *value;
    PyErr_Fetch(&type, &value, traceback);
    PyErr_NormalizeException(&type, &value, traceback);
    if (value && *traceback && PyException_SetTraceback(value, *traceback))
        PyErr_Clear();
    return value;
}

#pragma GCC diagnostic pop

static bool defines_main(void)
{
    if (globals && PyDict_GetItemString(globals, "main"))
        return true;
    PyObject *match = PyObject_CallFunctionObjArgs(tools.search, source, NULL);
    bool found = match && match != Py_None;
    PyErr_Clear();
    Py_XDECREF(match);
    return found;
}

/* The script's uncaught exception. */
static void fail_raised(struct said *said)
{
    PyObject *traceback = NULL, *value = take_exception(&traceback);
    if (reserve != MAP_FAILED)
        munmap(reserve, RESERVE_BYTES);
    reserve = MAP_FAILED;
    if (is_a(value, PyExc_SystemExit))
        leave(value);
    leave_if_forked(value, traceback);
    calm();
    if (!value) {
        fail(said, FAIL_RAISED, "SystemError", "an error without an exception");
        return;
    }
    said->failure = classify(value, traceback);
    put_type(&said->type, value);
    put_message(&said->message, value);
    deepest_code(traceback, true, &said->line);
    put_traceback(&said->traceback, value, traceback);
    if (said->failure == FAIL_RAISED && top_level && !defines_main())
        said->failure = FAIL_NO_MAIN;
}

/* ---- compiling ---- */

bool script_load(struct span text, struct span input_text, struct said *said)
{
    static const char mark[] = "\xef\xbb\xbf";
    first_pid = syscall(SYS_getpid);
    if (text.length >= 3 && memcmp(text.bytes, mark, 3) == 0)
        text = (struct span){text.bytes + 3, text.length - 3};
    source = PyUnicode_DecodeUTF8((const char *)text.bytes, (Py_ssize_t)text.length, "surrogatepass");
    has_input = input_text.bytes != NULL;
    PyObject *string = NULL;
    if (source && has_input) {
        string = PyUnicode_DecodeUTF8((const char *)input_text.bytes, (Py_ssize_t)input_text.length, "strict");
        input = string ? PyObject_CallFunctionObjArgs(tools.read_input, string, NULL) : NULL;
        Py_XDECREF(string);
    }
    if (source && (input || !has_input))
        return true;
    bool memory = PyErr_ExceptionMatches(PyExc_MemoryError);
    PyErr_Clear();
    fail(said, memory ? FAIL_MEMORY : FAIL_FILES, "", memory ? "" : "the script or its input could not be read");
    return false;
}

/* What no source may hold: compile() of a str words these differently in each version. Returns NULL when it is fine. */
static const char *forbidden_character(uint32_t *line)
{
    Py_ssize_t length = PyUnicode_GetLength(source), nul = PyUnicode_FindChar(source, 0, 0, length, 1);
    PyObject *utf8 = nul < 0 ? PyUnicode_AsUTF8String(source) : NULL;
    bool surrogate = nul < 0 && !utf8 && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError);
    PyErr_Clear();
    Py_XDECREF(utf8);
    if (nul < 0 && !surrogate)
        return NULL;
    *line = 1;
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 c = PyUnicode_ReadChar(source, i);
        if (c == 0 || (surrogate && c >= 0xd800 && c < 0xe000))
            break;
        *line += c == '\n';
    }
    return surrogate ? "source code cannot contain surrogates" : "source code cannot contain null bytes";
}

/* Nesting that is too deep for the compiler comes as MemoryError or RecursionError. */
static void fail_compile(struct said *said)
{
    PyObject *traceback = NULL, *value = take_exception(&traceback);
    said->failure = FAIL_SYNTAX;
    if (is_a(value, PyExc_SyntaxError)) {
        PyObject *message = attribute(value, "msg"), *line = attribute(value, "lineno");
        put_type(&said->type, value);
        if (message && PyUnicode_Check(message))
            put_cut(&said->message, message, MESSAGE_MOST);
        long number = line && PyLong_Check(line) ? PyLong_AsLong(line) : 0;
        said->line = number > 0 && number < UINT32_MAX ? (uint32_t)number : 0;
        put_traceback(&said->traceback, value, NULL);
    } else if (is_a(value, PyExc_MemoryError) || is_a(value, PyExc_RecursionError)) {
        fail(said, FAIL_SYNTAX, "SyntaxError", "the source is nested too deeply to be compiled");
    } else {
        put_literal(&said->type, "SyntaxError");
        put_message(&said->message, value);
    }
    PyErr_Clear();
}

static PyObject *compile_source(struct said *said)
{
    const char *forbidden = forbidden_character(&said->line);
    PyObject *code = NULL;
    if (!forbidden)
        code = PyObject_CallFunction(tools.compile, "OssiO", source, file_name, "exec", 0, Py_True);
    if (code)
        return code;
    if (forbidden)
        fail(said, FAIL_SYNTAX, "SyntaxError", forbidden);
    else
        fail_compile(said);
    if (!defines_main())
        said->failure = FAIL_NO_MAIN;
    return NULL;
}

/* ---- running ---- */

/* A module of that name in sys.modules; its dict is returned, borrowed, as `globals` keeps it. */
static PyObject *make_module(const char *name)
{
    PyObject *modules = PySys_GetObject("modules"), *module = PyModule_New(name);
    PyObject *dict = module ? PyModule_GetDict(module) : NULL, *file = PyUnicode_FromString(file_name);
    if (!dict || !modules || !file || PyDict_SetItemString(dict, "__file__", file) ||
        PyDict_SetItemString(dict, "__builtins__", tools.builtins) || PyDict_SetItemString(modules, name, module))
        return NULL;
    Py_INCREF(dict);
    Py_DECREF(module);
    Py_DECREF(file);
    return dict;
}

static long number_of(PyObject *object, const char *name)
{
    PyObject *value = attribute(object, name);
    long number = value && PyLong_Check(value) ? PyLong_AsLong(value) : 0;
    Py_XDECREF(value);
    return number;
}

/* Whether main has a parameter for the input: 0: none, 1: it may be given, 2: it must be, -1: an exception. What nearly
 * every main is, a plain function, is looked at here: Python code would write to half a dozen pages for it. */
static long takes_input(PyObject *function)
{
    enum { CO_WITH_ARGUMENTS = 4 };
    PyObject *dict = (PyObject *)Py_TYPE(function) == tools.function ? attribute(function, "__dict__") : NULL;
    PyObject *code = dict && !PyDict_GetItemString(dict, "__wrapped__") ? attribute(function, "__code__") : NULL;
    PyObject *defaults = code ? attribute(function, "__defaults__") : NULL;
    long count = number_of(code, "co_argcount"),
         usual = defaults && PyTuple_Check(defaults) ? PyTuple_Size(defaults) : 0;
    long takes = count > usual ? 2 : count || (number_of(code, "co_flags") & CO_WITH_ARGUMENTS) ? 1 : 0;
    if (!code) {
        PyObject *parameter = PyObject_CallFunctionObjArgs(tools.parameter, function, NULL);
        takes = parameter ? PyLong_AsLong(parameter) : -1;
        Py_XDECREF(parameter);
    }
    Py_XDECREF(defaults);
    Py_XDECREF(code);
    Py_XDECREF(dict);
    return takes;
}

/* main(), main(input), or either of them awaited. */
static PyObject *call_main(PyObject *function)
{
    long takes = takes_input(function);
    if (takes < 0)
        return NULL;
    PyObject *argument = has_input ? input : Py_None;
    bool gets = takes == 2 || (takes == 1 && has_input);
    PyObject *result = PyObject_CallFunctionObjArgs(function, gets ? argument : NULL, NULL);
    if (!result || (PyObject *)Py_TYPE(result) != tools.coroutine)
        return result;
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    return asyncio ? PyObject_CallMethod(asyncio, "run", "O", result) : NULL;
}

static void say_result(PyObject *result, size_t most, struct said *said)
{
    if (result == Py_None || !PyDict_Check(result)) {
        fail(said, result == Py_None ? FAIL_NO_VALUE : FAIL_NOT_OBJECT, "", "");
        return;
    }
    struct buffer reason = {0};
    enum encoded encoded = encode(&encode_tools, result, most, &said->result, &reason);
    if (encoded != ENCODED)
        buffer_free(&said->result);
    switch (encoded) {
    case ENCODED:
        break;
    case ENCODED_NOT:
        said->failure = FAIL_NOT_JSON;
        buffer_append(&said->message, reason.bytes, reason.length);
        break;
    case ENCODED_TOO_BIG:
        fail(said, FAIL_TOO_BIG, "", "main()'s result is too large as JSON");
        break;
    case ENCODED_RAISED:
        fail_raised(said);
        break;
    }
}

void script_run(size_t result_most, struct said *said)
{
    PyObject *code = compile_source(said), *function;
    if (!code)
        return;
    globals = make_module("script");
    show_source(source, false);
    top_level = said->ran = true;
    if (!globals || !PyEval_EvalCode(code, globals, globals)) {
        fail_raised(said);
        return;
    }
    function = PyDict_GetItemString(globals, "main");
    if (!function || !PyCallable_Check(function)) {
        leave_if_forked(NULL, NULL);
        calm();
        fail(said, FAIL_NO_MAIN, "", "");
        return;
    }
    top_level = false;
    Py_INCREF(function);
    PyObject *result = call_main(function);
    if (!result) {
        fail_raised(said);
        return;
    }
    leave_if_forked(NULL, NULL);
    calm();
    say_result(result, result_most, said);
}

/* What a run does with its text besides, for the zygote: whatever of the program it takes is then in place. */
static void rehearse_rest(const char *text)
{
    struct said said = {0};
    PyObject *modules = PySys_GetObject("modules"), *cache = tools.line_cache;
    if (script_load((struct span){(const uint8_t *)text, strlen(text)}, (struct span){NULL, 0}, &said)) {
        forbidden_character(&said.line);
        Py_XDECREF(make_module("script"));
        show_source(source, false);
        if (modules)
            PyDict_DelItemString(modules, "script");
        PyDict_DelItemString(cache, file_name);
        PyErr_Clear();
    }
    Py_CLEAR(source);
}

void script_rehearse(bool whole)
{
    static const char of_a_clone[] = "def main(value=None):\n"
                                     "    return {'text': f'{value}', 'half': 0.5}\n";
    static const char of_a_zygote[] = "import sys\n"
                                      "def main(value=None):\n"
                                      "    items = [n * n for n in range(20)]\n"
                                      "    print(f'{value} {len(items)}', flush=True)\n"
                                      "    return {'text': 'a', 'items': items, 'half': 0.5}\n";
    PyObject *code =
        PyObject_CallFunction(tools.compile, "sssiO", whole ? of_a_zygote : of_a_clone, file_name, "exec", 0, Py_True);
    PyObject *dict = PyDict_New(), *done = NULL, *result = NULL;
    struct buffer json = {0}, reason = {0};
    if (whole)
        rehearse_rest(of_a_zygote);
    if (code && dict && PyDict_SetItemString(dict, "__builtins__", tools.builtins) == 0)
        done = PyEval_EvalCode(code, dict, dict);
    if (done && (result = call_main(PyDict_GetItemString(dict, "main"))))
        encode(&encode_tools, result, SIZE_MAX / 2, &json, &reason);
    if (dict)
        Py_XDECREF(PyEval_EvalCode(tools.rehearsal, dict, dict)); /* what goes with the modules that are warm */
    script_flush();
    buffer_free(&json);
    buffer_free(&reason);
    PyErr_Clear();
    Py_XDECREF(result);
    Py_XDECREF(done);
    Py_XDECREF(dict);
    Py_XDECREF(code);
}
