/* A client that counts every query: asks at a steady rate, never waits for an answer before it asks on, and writes down for each
   query when it was sent, when its first answer came and whether that was right.
   Usage: counting HITS MISSES SECONDS NAMES LETTER ADDRESS PORT [ADDRESS PORT]...

   Asks A and AAAA of NAMES names over and over, HITS queries a second, and MISSES a second for names that nobody asked for before
   (they begin with LETTER). Writes one line: when it began (ns of the wall clock), queries, second answers, answers to nothing,
   refusals (a port was closed), datagrams its own sockets lost, microseconds of CPU. Then four arrays with an item for each query:
   when it was sent and answered (int64, ns since the beginning, -1 for never), what came, and whether it was a miss (an octet each).

   The number of a query follows from socket and ID, so that no two queries that wait share both. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { SOCKETS = 32, BURST = 16, BATCH = 64, ROOM = 512, CONTROL = 64, QUESTION = 29, QUERY = 12 + QUESTION };
enum { TICK = 1000000, LAST_ANSWERS = 5, BUFFER = 8 << 20, DROPS = 8 };
enum { NOTHING, RIGHT, SERVFAIL, WRONG };
static const int64_t SECOND = 1000000000;

static int64_t hit_rate, miss_rate, count, begun, first_answers, second_answers, strays, refusals;
static int names, sockets[SOCKETS];
static char letter;
static int64_t *sent, *answered;
static uint8_t *told, *is_miss;

static int64_t now_on(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* The question of a query: QNAME, QTYPE, QCLASS. Returns whether it is a miss. */
static int question_of(int64_t number, uint8_t *octets)
{
    int64_t misses = number * miss_rate / (hit_rate + miss_rate);
    int miss = (number + 1) * miss_rate / (hit_rate + miss_rate) > misses;
    int64_t running = miss ? misses : number - misses;
    char label[16];

    snprintf(label, sizeof label, "%c%07d", miss ? letter : 'h', (int)(miss ? running : running / 2 % names));
    memcpy(octets, "\10________\4good\4load\4test\0\0\0\0\1", QUESTION);
    memcpy(octets + 1, label, 8);
    octets[QUESTION - 3] = running % 2 ? 28 : 1;
    return miss;
}

/* CRC-32 as zlib has it: the oracle's addresses end with three octets of that of the name. */
static uint32_t mark_of(const uint8_t *name, int size)
{
    uint32_t crc = ~0u;
    for (int at = 0; at < size; at++) {
        crc ^= name[at];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc & 0xFFFFFF;
}

static int judged(int64_t number, const uint8_t *answer, int size)
{
    uint8_t question[QUESTION];
    question_of(number, question);
    if (size < QUERY || !(answer[2] & 0x80) || memcmp(answer + 12, question, QUESTION) != 0)
        return WRONG;
    if ((answer[3] & 15) == 2)
        return SERVFAIL;
    const uint8_t *end = answer + size - 3;
    uint32_t mark = end[0] << 16 | end[1] << 8 | end[2];
    return (answer[3] & 15) == 0 && answer[7] == 1 && mark == mark_of(question, QUESTION - 4) ? RIGHT : WRONG;
}

static void take(int endpoint, const uint8_t *answer, int size, int64_t at)
{
    int ident = size < 2 ? 0 : answer[0] << 8 | answer[1];
    int64_t number = ((int64_t)(ident / BURST) * SOCKETS + endpoint) * BURST + ident % BURST;
    if (size < 2 || number >= count || sent[number] < 0)
        strays++;
    else if (told[number])
        second_answers++;
    else {
        told[number] = judged(number, answer, size);
        answered[number] = at - begun;
        first_answers++;
    }
}

static int64_t arrival(struct msghdr *header)
{
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    struct timespec at;
    if (!control || control->cmsg_type != SCM_TIMESTAMPNS)
        return now_on(CLOCK_REALTIME);
    memcpy(&at, CMSG_DATA(control), sizeof at);
    return at.tv_sec * SECOND + at.tv_nsec;
}

static int receive(int endpoint)
{
    static uint8_t octets[BATCH][ROOM], controls[BATCH][CONTROL];
    static struct mmsghdr headers[BATCH];
    static struct iovec places[BATCH];

    for (int place = 0; place < BATCH; place++) {
        places[place] = (struct iovec){octets[place], ROOM};
        headers[place].msg_hdr = (struct msghdr){
            .msg_iov = &places[place], .msg_iovlen = 1, .msg_control = controls[place], .msg_controllen = CONTROL};
    }
    int received = recvmmsg(sockets[endpoint], headers, BATCH, MSG_DONTWAIT, NULL);
    refusals += received < 0 && errno != EAGAIN;
    for (int place = 0; place < received; place++)
        take(endpoint, octets[place], headers[place].msg_len, arrival(&headers[place].msg_hdr));
    return received;
}

/* Send these queries, which share a socket. An error that waited there (a port that was closed) is counted, and the send repeated. */
static void send_burst(int64_t first, int size)
{
    static uint8_t octets[BURST][QUERY];
    static struct mmsghdr headers[BURST];
    static struct iovec places[BURST];
    int64_t block = first / BURST;

    for (int place = 0; place < size; place++) {
        int ident = block / SOCKETS * BURST + (first + place) % BURST;
        memcpy(octets[place], (uint8_t[12]){ident >> 8, ident, 1, 0, 0, 1}, 12);
        is_miss[first + place] = question_of(first + place, octets[place] + 12);
        places[place] = (struct iovec){octets[place], QUERY};
        headers[place].msg_hdr = (struct msghdr){.msg_iov = &places[place], .msg_iovlen = 1};
    }
    for (int done = 0, tries = 0; done < size && tries < 4;) {
        int64_t at = now_on(CLOCK_REALTIME) - begun;
        int more = sendmmsg(sockets[block % SOCKETS], headers + done, size - done, 0);
        if (more < 0) {
            refusals++;
            tries++;
        }
        for (; more > 0; more--)
            sent[first + done++] = at;
    }
}

static int opened(const char *address, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
    int on = 1, buffer = BUFFER;
    if (getaddrinfo(address, port, &hints, &found) != 0)
        exit(2);
    int endpoint = socket(found->ai_family, SOCK_DGRAM, 0);
    setsockopt(endpoint, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    if (setsockopt(endpoint, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(endpoint, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (connect(endpoint, found->ai_addr, found->ai_addrlen) < 0)
        exit(2);
    freeaddrinfo(found);
    return endpoint;
}

/* Once in a tick: take what came, then send what is due. */
static void run(void)
{
    struct pollfd watched[SOCKETS];
    int64_t start = now_on(CLOCK_MONOTONIC), wake = start, next = 0, right_by = INT64_MAX;

    for (int one = 0; one < SOCKETS; one++)
        watched[one] = (struct pollfd){sockets[one], POLLIN, 0};
    begun = now_on(CLOCK_REALTIME);
    while (wake < right_by) {
        if (poll(watched, SOCKETS, 0) > 0)
            for (int one = 0; one < SOCKETS; one++)
                while (watched[one].revents && receive(one) == BATCH)
                    ;
        int64_t now = now_on(CLOCK_MONOTONIC), due = (now - start) * (hit_rate + miss_rate) / SECOND;
        while (next < count && next < due) {
            int64_t end = (next / BURST + 1) * BURST;
            end = end < due ? end : due;
            end = end < count ? end : count;
            send_burst(next, end - next);
            next = end;
        }
        if (next == count && right_by == INT64_MAX)
            right_by = now + LAST_ANSWERS * SECOND;
        if (first_answers == count && right_by > now + SECOND / 5)
            right_by = now + SECOND / 5; /* a second answer to one of them would come soon */
        wake = now + TICK;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &(struct timespec){wake / SECOND, wake % SECOND}, NULL);
    }
}

static int64_t lost_here(void)
{
    int64_t lost = 0;
    for (int one = 0; one < SOCKETS; one++) {
        uint32_t figures[9] = {0};
        socklen_t size = sizeof figures;
        getsockopt(sockets[one], SOL_SOCKET, SO_MEMINFO, figures, &size);
        lost += figures[DROPS];
    }
    return lost;
}

int main(int argc, char **argv)
{
    struct rusage used;
    if (argc < 8)
        return 2;
    hit_rate = atoll(argv[1]), miss_rate = atoll(argv[2]), names = atoi(argv[4]), letter = argv[5][0];
    count = (hit_rate + miss_rate) * atof(argv[3]);
    if (count > (int64_t)SOCKETS << 16)
        return 2; /* an ID would be used twice */
    sent = malloc(count * 8), answered = malloc(count * 8), told = calloc(count, 1), is_miss = calloc(count, 1);
    memset(sent, -1, count * 8), memset(answered, -1, count * 8);
    for (int one = 0, servers = (argc - 6) / 2; one < SOCKETS; one++)
        sockets[one] = opened(argv[6 + one % servers * 2], argv[7 + one % servers * 2]);
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1}); /* it sleeps nearly all the time; without the right, as it is */
    run();
    getrusage(RUSAGE_SELF, &used);
    int64_t cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    printf("%lld %lld %lld %lld %lld %lld %lld\n", (long long)begun, (long long)count, (long long)second_answers,
           (long long)strays, (long long)refusals, (long long)lost_here(), (long long)cpu);
    fwrite(sent, 8, count, stdout), fwrite(answered, 8, count, stdout);
    fwrite(told, 1, count, stdout), fwrite(is_miss, 1, count, stdout);
    return 0;
}
