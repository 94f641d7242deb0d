use super::*;

/// Command line, split at spaces, run by the executable in `cwd`; the name that comes of it.
#[track_caller]
fn check(executable: &str, command: &str, cwd: &str, expected: &str) {
    check_args(executable, &command.split(' ').map(str::to_owned).collect::<Vec<_>>(), cwd, expected);
}

#[track_caller]
fn check_args(executable: &str, args: &[String], cwd: &str, expected: &str) {
    let packages = |directory: &Path| match directory.to_str()? {
        "/srv/pay" => Some("@shop/payments".to_owned()),
        _ => None,
    };
    let launch = Launch {
        executable: Path::new(executable),
        args,
        cwd: Path::new(cwd),
        flask_app: None,
        package_name: &packages,
    };
    assert_eq!(service_name(&launch), expected, "{args:?}");
}

const PYTHON: &str = "/usr/bin/python3.11";

#[test]
fn python_scripts_and_modules() {
    for (command, expected) in [
        ("python3 orders.py", "orders"),
        ("python3 -u -X dev -W ignore /srv/x/orders.py --port 80", "orders"),
        ("python3 app.py", "shop"),
        ("python3 /srv/orders/src/main.py", "orders"),
        ("python3 -m http.server 8000", "http.server"),
        ("python3 -mhttp.server", "http.server"),
        ("python3 -um shop.orders", "shop.orders"),
        ("python3 -m orders.main", "orders"),
        ("python3 -m app", "shop"),
        ("python3 /usr/lib/python3/dist-packages/orders/__main__.py", "orders"),
        ("python3 manage.py runserver", "shop"),
        ("python3 -c code", "python"),
        ("python3 -Ic code", "python"),
        ("python3 -", "python"),
    ] {
        check(PYTHON, command, "/srv/shop", expected);
    }
}

#[test]
fn python_application_servers() {
    for (command, expected) in [
        ("python3 /usr/bin/gunicorn orders:app", "orders"),
        ("python3 /usr/bin/gunicorn -w 4 -b localhost:8000 -k gthread orders:app", "orders"),
        ("python3 /usr/bin/gunicorn -b unix:/tmp/x.sock shop.wsgi:application", "shop"),
        ("python3 /usr/bin/gunicorn -b 127.0.0.1:80 orders", "orders"),
        ("python3 /usr/bin/gunicorn --chdir /srv/cart app:app", "cart"),
        ("python3 /usr/bin/gunicorn app:create_app()", "shop"),
        ("python3 /usr/bin/gunicorn -c gunicorn.conf.py", "shop"),
        ("python3 -m gunicorn -w 2 app.main:app", "shop"),
        ("python3 -m uvicorn orders.api:app --port 80", "orders.api"),
        ("python3 /usr/bin/uvicorn --factory main:create", "shop"),
        ("python3 /usr/bin/hypercorn orders:app", "orders"),
        ("python3 /usr/bin/flask --app orders run", "orders"),
        ("python3 -m flask --app=services/orders.py:create() run", "orders"),
        ("python3 /usr/bin/flask run", "shop"),
        ("python3 /usr/bin/celery -A proj.tasks worker", "proj.tasks"),
        ("python3 /usr/bin/fastapi run orders.py", "orders"),
        ("python3 /usr/bin/waitress-serve --call orders:create", "orders"),
    ] {
        check(PYTHON, command, "/srv/shop", expected);
    }
    check("/usr/bin/uwsgi", "uwsgi --http :80 --module orders:app", "/", "orders");
    check("/usr/bin/uwsgi", "uwsgi --ini x.ini", "/", "uwsgi");
    check(PYTHON, "python3 app.py", "/home/bob", "app");
    check(PYTHON, "python3 app.py", "/", "app");
}

#[test]
fn titles_written_by_the_process() {
    let title = |executable: &str, title: &str, expected: &str| {
        check_args(executable, &[title.to_owned()], "/srv/shop", expected);
    };
    title(PYTHON, "gunicorn: worker [orders:app]", "orders");
    title(PYTHON, "gunicorn: master [app]", "shop");
    title(PYTHON, "something else", "python3.11");
    title("/usr/bin/ruby3.1", "puma 5.6.5 (tcp://0.0.0.0:9292) [cart]", "cart");
    title("/usr/bin/ruby3.1", "puma: cluster worker 0: 12 [cart]", "cart");
    title("/usr/sbin/nginx", "nginx: worker process", "nginx");
    title("/usr/sbin/php-fpm8.2", "php-fpm: pool www", "php-fpm");
    title("/usr/bin/node", "next-server (v14.1.0)", "node");
    check_args("/usr/bin/node", &["next-server".to_owned()], "/srv/pay", "payments");
}

#[test]
fn javascript() {
    for (command, cwd, expected) in [
        ("node orders.js", "/srv/x", "orders"),
        ("node --inspect -r ./otel.js --max-old-space-size=512 /srv/x/orders.mjs 80", "/", "orders"),
        ("node server.js", "/srv/pay", "payments"),
        ("node dist/main.js", "/srv/pay", "payments"),
        ("node index.js", "/srv/cart", "cart"),
        ("node /srv/pay/node_modules/.bin/next start", "/srv/pay", "payments"),
        ("node -e code", "/srv/x", "node"),
        ("node", "/srv/x", "node"),
    ] {
        check("/usr/bin/node", command, cwd, expected);
    }
    check("/usr/bin/bun", "bun run orders.ts", "/srv/x", "orders");
    check("/usr/bin/deno", "deno run -A orders.ts", "/srv/x", "orders");
}

#[test]
fn java_ruby_php_dotnet() {
    for (executable, command, expected) in [
        ("/usr/bin/java", "java -Xmx1g -jar /srv/orders-1.4.2-SNAPSHOT.jar --port=80", "orders"),
        ("/usr/bin/java", "java -jar app.jar", "shop"),
        ("/usr/bin/java", "java -cp a.jar:b.jar com.example.OrdersApplication", "OrdersApplication"),
        ("/usr/bin/java", "java -Dspring.application.name=cart -jar x.jar", "cart"),
        ("/usr/bin/java", "java -m orders/com.example.Main", "orders"),
        ("/usr/bin/ruby3.1", "ruby orders.rb", "orders"),
        ("/usr/bin/ruby", "ruby /usr/bin/rackup -p 80", "shop"),
        ("/usr/bin/php8.2", "php -S 0.0.0.0:80 -t public router.php", "router"),
        ("/usr/bin/php8.2", "php artisan serve", "shop"),
        ("/usr/bin/dotnet", "dotnet Orders.Api.dll", "Orders.Api"),
    ] {
        check(executable, command, "/srv/shop", expected);
    }
}

#[test]
fn programs_of_their_own() {
    check("/usr/local/bin/orders", "orders --secret x", "/", "orders");
    check("/app/server", "/app/server", "/app", "server");
    check("/srv/shop/main", "./main", "/srv/shop", "shop");
    check("/usr/bin/ox", "a\u{1b}[31m", "/", "ox");
    check("/usr/bin/o\u{1b}[31mx", "o", "/", "o[31mx");
}

#[test]
fn nothing_breaks_a_name() {
    for executable in
        [PYTHON, "/usr/bin/node", "/usr/bin/java", "/usr/bin/ruby", "/usr/bin/php", "/usr/bin/dotnet", "/x", ""]
    {
        for args in
            [&[][..], &["--"], &["x", "--"], &["x", "-m"], &["x", "-jar"], &["x", ""], &["x", "-r"], &["x", ":"]]
        {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let launch = Launch {
                executable: Path::new(executable),
                args: &args,
                cwd: Path::new(""),
                flask_app: None,
                package_name: &|_| None,
            };
            assert!(!service_name(&launch).is_empty(), "{executable} {args:?}");
        }
    }
    check(PYTHON, &format!("python3 {}.py", "é".repeat(500)), "/", &"é".repeat(127));
}
