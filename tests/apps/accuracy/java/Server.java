// com.sun.net.httpserver with a thread per request, and one of the two clients of the JDK, as CLIENT says.
//
// GET /r/<n>?mode=<mode>&calls=<count>: each call downstream has a code of its own, drawn here; `code n` goes to the file that
// the environment names, and nothing else links the two.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.SecureRandom;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Server {
    private static final int SLEEP_MS_MAX = 20;
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final ExecutorService CALLERS = Executors.newFixedThreadPool(16);
    private static FileOutputStream truth;
    private static Client client;

    interface Client {
        void get(String url, String id) throws Exception;
    }

    static void byUrlConnection(String url, String id) throws Exception {
        var connection = (HttpURLConnection) new URL(url).openConnection();
        if (id != null) {
            connection.setRequestProperty("X-Request-Id", id);
        }
        try (var body = connection.getInputStream()) {
            body.readAllBytes();
        }
    }

    static Client httpClient() {
        var http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        return (url, id) -> {
            var request = HttpRequest.newBuilder(URI.create(url));
            if (id != null) {
                request.header("X-Request-Id", id);
            }
            http.send(request.build(), HttpResponse.BodyHandlers.discarding());
        };
    }

    static String draw(String n) throws IOException {
        var bytes = new byte[8];
        RANDOM.nextBytes(bytes);
        var code = HexFormat.of().formatHex(bytes);
        truth.write((code + " " + n + "\n").getBytes());
        return System.getenv("DOWNSTREAM") + "/d/" + code;
    }

    static Void call(String n, String mode, String id) throws Exception {
        if (mode.equals("sleep")) {
            Thread.sleep(ThreadLocalRandom.current().nextInt(SLEEP_MS_MAX));
        }
        client.get(draw(n), id);
        return null;
    }

    static void run(String n, String mode, int calls, String id) throws Exception {
        List<Future<Void>> futures = new ArrayList<>();
        for (int i = 0; i < calls; i++) {
            if (mode.equals("concurrent")) {
                futures.add(CALLERS.submit(() -> call(n, mode, id)));
            } else {
                call(n, mode, id);
            }
        }
        for (var future : futures) {
            future.get();
        }
    }

    static void serve(HttpExchange exchange) throws IOException {
        var n = exchange.getRequestURI().getPath().substring("/r/".length());
        var query = exchange.getRequestURI().getQuery().split("[=&]");
        int status = 200;
        try {
            run(n, query[1], Integer.parseInt(query[3]), exchange.getRequestHeaders().getFirst("X-Request-Id"));
        } catch (Exception error) {
            error.printStackTrace();
            status = 500;
        }
        exchange.sendResponseHeaders(status, 2);
        try (var body = exchange.getResponseBody()) {
            body.write("ok".getBytes());
        }
    }

    /** Trusts the authority in the PEM file, where there is one. */
    static void trust(String file) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (var input = new FileInputStream(file)) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(input));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        SSLContext.setDefault(context);
    }

    public static void main(String[] arguments) throws Exception {
        if (System.getenv("SSL_CERT_FILE") != null) {
            trust(System.getenv("SSL_CERT_FILE"));
        }
        truth = new FileOutputStream(System.getenv("TRUTH"), true);
        client = System.getenv("CLIENT").equals("HttpClient") ? httpClient() : Server::byUrlConnection;
        var address = new InetSocketAddress(System.getenv("HOST"), Integer.parseInt(System.getenv("PORT")));
        var server = HttpServer.create(address, 128);
        server.createContext("/r/", Server::serve);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
