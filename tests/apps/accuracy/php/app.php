<?php
// GET /r/<n>?mode=<mode>&calls=<count>: each call downstream has a code of its own, drawn here; `code n` goes to the file
// that the environment names, and nothing else links the two. PHP keeps connections for the time of a request.

const SLEEP_MICROSECONDS_MAX = 20000;

function draw(string $n): string
{
    $code = bin2hex(random_bytes(8));
    file_put_contents(getenv('TRUTH'), "$code $n\n", FILE_APPEND);
    return getenv('DOWNSTREAM') . "/d/$code";
}

function prepare(CurlHandle $curl, string $n): CurlHandle
{
    $id = $_SERVER['HTTP_X_REQUEST_ID'] ?? '';
    curl_setopt_array($curl, [
        CURLOPT_URL => draw($n),
        CURLOPT_HTTPHEADER => $id === '' ? [] : ["X-Request-Id: $id"],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_FAILONERROR => true,
        CURLOPT_CAINFO => getenv('SSL_CERT_FILE') ?: null,
    ]);
    return $curl;
}

function concurrent(string $n, int $calls): bool
{
    $multi = curl_multi_init();
    $handles = [];
    for ($i = 0; $i < $calls; $i++) {
        curl_multi_add_handle($multi, $handles[] = prepare(curl_init(), $n));
    }
    do {
        curl_multi_exec($multi, $running);
        curl_multi_select($multi, 1.0);
    } while ($running > 0);
    return array_sum(array_map(curl_errno(...), $handles)) === 0;
}

function sequential(string $n, string $mode, int $calls): bool
{
    $curl = curl_init();
    for ($i = 0; $i < $calls; $i++) {
        if ($mode === 'sleep') {
            usleep(random_int(0, SLEEP_MICROSECONDS_MAX));
        }
        if (curl_exec(prepare($curl, $n)) === false) {
            return false;
        }
    }
    return true;
}

$n = substr(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), strlen('/r/'));
$calls = (int) $_GET['calls'];
$mode = $_GET['mode'];
$done = $mode === 'concurrent' ? concurrent($n, $calls) : sequential($n, $mode, $calls);
http_response_code($done ? 200 : 500);
echo 'ok';
