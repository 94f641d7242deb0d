#!/bin/sh
# PHP-FPM makes a session of its own: it ends when nginx, whose process this becomes, is ended.
setpriv --pdeathsig TERM "$(ls /usr/sbin/php-fpm* | head -n 1)" --allow-to-run-as-root --fpm-config @DIR@/fpm.conf &
while [ ! -S @DIR@/php.sock ]; do sleep 0.05; done
exec nginx -p @DIR@ -c @DIR@/nginx.conf -e stderr
