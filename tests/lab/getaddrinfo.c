/* getaddrinfo calls with a clock: prints for each when it began, the milliseconds it took, then the addresses, or "error" and
   what it said.
   Usage: getaddrinfo NAME [4|6], or getaddrinfo - for names from standard input, one after the other in one process; an empty
   line there asks for what was not written out yet.
   Linked against musl by the tests, to be the second kind of client beside glibc; and against glibc, for many lookups. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void look_up(const char *name, int family)
{
    struct addrinfo hints = {0}, *found = NULL;
    struct timespec begin, end;
    char text[INET6_ADDRSTRLEN];

    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = family;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int error = getaddrinfo(name, NULL, &hints, &found);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lld.%06ld ", (long long)begin.tv_sec, begin.tv_nsec / 1000);
    printf("%.3f", (end.tv_sec - begin.tv_sec) * 1e3 + (end.tv_nsec - begin.tv_nsec) / 1e6);
    if (error) {
        printf(" error %s\n", gai_strerror(error));
        return;
    }
    for (struct addrinfo *one = found; one; one = one->ai_next) {
        const void *address = one->ai_family == AF_INET6
            ? (const void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr
            : (const void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr;
        printf(" %s", inet_ntop(one->ai_family, address, text, sizeof text));
    }
    printf("\n");
    freeaddrinfo(found);
}

int main(int argc, char **argv)
{
    char name[1024];

    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "-") != 0) {
        look_up(argv[1], argc < 3 ? AF_UNSPEC : argv[2][0] == '6' ? AF_INET6 : AF_INET);
        return 0;
    }
    while (fgets(name, sizeof name, stdin)) {
        name[strcspn(name, "\n")] = 0;
        if (*name)
            look_up(name, AF_UNSPEC);
        else
            fflush(stdout);
    }
    return 0;
}
