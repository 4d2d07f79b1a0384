#include "tls.h"

#include "log.h"
#include "scope.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { FILE_BYTES = 1 << 20, SOON_S = 14 * 24 * 3600 };

static void wipe(gnutls_datum_t *datum)
{
    if (datum->data)
        explicit_bzero(datum->data, datum->size);
    free(datum->data);
    *datum = (gnutls_datum_t){0};
}

static int read_file(int fd, const char *what, gnutls_datum_t *datum, struct fault *fault)
{
    struct stat info;
    if (fstat(fd, &info) || info.st_size <= 0 || info.st_size > FILE_BYTES)
        return fault_set(fault, "tls", "read", 0, "%s: a file of 1 to %d bytes was expected", what, FILE_BYTES);
    datum->data = malloc((size_t)info.st_size);
    datum->size = (unsigned)info.st_size;
    if (!datum->data || pread(fd, datum->data, datum->size, 0) != info.st_size)
        return fault_set(fault, "tls", "read", errno, "%s", what);
    return 0;
}

/* A certificate that is not valid is served all the same: clients say what they think of it, and the operator may be
 * about to replace it. */
static void check_dates(const struct credentials *credentials)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned length = 0;
    if (gnutls_certificate_get_x509_crt(credentials->certificate, 0, &chain, &length) || !length)
        return;
    time_t now = time(NULL), end = gnutls_x509_crt_get_expiration_time(chain[0]);
    if (end <= now)
        log_event(LOG_WARNING, "the TLS certificate has expired", log_number("hours_ago", (now - end) / 3600));
    else if (end <= now + SOON_S)
        log_event(LOG_WARNING, "the TLS certificate expires soon", log_number("hours_left", (end - now) / 3600));
    if (gnutls_x509_crt_get_activation_time(chain[0]) > now)
        log_event(LOG_WARNING, "the TLS certificate is not valid yet");
    for (unsigned i = 0; i < length; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
}

struct credentials *credentials_read(int certificate, int key, struct fault *fault)
{
    gnutls_datum_t chain = {0}, secret = {0};
    struct credentials *credentials = calloc(1, sizeof *credentials);
    int result = -1;
    if (!credentials || gnutls_certificate_allocate_credentials(&credentials->certificate)) {
        fault_set(fault, "tls", "malloc", ENOMEM, "credentials");
        free(credentials);
        return NULL;
    }
    credentials->users = 1;
    if (read_file(certificate, "tls_certificate", &chain, fault) == 0 &&
        read_file(key, "tls_key", &secret, fault) == 0) {
        result = gnutls_certificate_set_x509_key_mem2(credentials->certificate, &chain, &secret, GNUTLS_X509_FMT_PEM,
                                                      NULL, 0);
        if (result < 0)
            fault_set(fault, "tls", "take", 0,
                      "tls_certificate and tls_key do not hold a certificate and its private key as PEM: %s",
                      gnutls_strerror(result));
    }
    wipe(&chain);
    wipe(&secret);
    if (result < 0) {
        credentials_leave(credentials);
        return NULL;
    }
    check_dates(credentials);
    return credentials;
}

struct credentials *credentials_share(struct credentials *credentials)
{
    credentials->users++;
    return credentials;
}

void credentials_leave(struct credentials *credentials)
{
    if (!credentials || --credentials->users)
        return;
    gnutls_certificate_free_credentials(credentials->certificate);
    free(credentials);
}
