/* So many processes that do nothing: what a host with many is to those who look at all of them.
 *
 *   sleepers COUNT    prints how many there are, and ends them when its input ends
 *
 * They end with it, however it ends.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long wanted = argc == 2 ? atol(argv[1]) : -1, made = 0;
    pid_t parent = getpid(), *sleepers;
    char byte;

    if (wanted < 0 || (sleepers = calloc((size_t)wanted + 1, sizeof *sleepers)) == NULL) {
        fputs("usage: sleepers COUNT\n", stderr);
        return 2;
    }
    for (; made < wanted; made++) {
        sleepers[made] = fork();
        if (sleepers[made] < 0)
            break;
        if (sleepers[made] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            while (getppid() == parent)
                pause();
            _exit(0);
        }
    }
    printf("%ld\n", made);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    for (long i = 0; i < made; i++)
        kill(sleepers[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    return 0;
}
