/* One getaddrinfo call with a clock: prints the milliseconds it took, then the addresses, or "error" and what it said.
   Usage: getaddrinfo NAME [4|6]. Linked against musl by the tests, to be the second kind of client beside glibc. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

int main(int argc, char **argv)
{
    struct addrinfo hints = {0}, *found = NULL;
    struct timespec begin, end;
    char text[INET6_ADDRSTRLEN];

    if (argc < 2)
        return 2;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = argc < 3 ? AF_UNSPEC : argv[2][0] == '6' ? AF_INET6 : AF_INET;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int error = getaddrinfo(argv[1], NULL, &hints, &found);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.3f", (end.tv_sec - begin.tv_sec) * 1e3 + (end.tv_nsec - begin.tv_nsec) / 1e6);
    if (error) {
        printf(" error %s\n", gai_strerror(error));
        return 0;
    }
    for (struct addrinfo *one = found; one; one = one->ai_next) {
        const void *address = one->ai_family == AF_INET6
            ? (const void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr
            : (const void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr;
        printf(" %s", inet_ntop(one->ai_family, address, text, sizeof text));
    }
    printf("\n");
    freeaddrinfo(found);
    return 0;
}
