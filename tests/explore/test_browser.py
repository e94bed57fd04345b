"""What a reader's browser does with an output, from a page that holds nothing else."""

import re
from xml.etree import ElementTree

import pytest
from axe_playwright_python.sync_playwright import Axe

from lossbook import explore, style
from lossbook.losses import CATALOGUE
from tests.explore.examples import (
    FOCAL,
    cost_of_a_score,
    huber,
    psi,
    tabled,
    weights_lab,
)

ALL = (huber, psi, cost_of_a_score, tabled, weights_lab)
SVG = "{http://www.w3.org/2000/svg}"


def slider(root, key):
    return root.locator(f".lbx-row[data-key={key}] input")


def curve(root, k=0):
    return root.locator(f"> svg path.c{k}")


def settle(tab):
    """Wait until what was asked for is drawn."""
    tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


def state(tab, root):
    """All that a reader sees of a drawing."""
    settle(tab)
    curves = root.locator("> svg path[class^=c]").all()
    return {
        "curves": [path.get_attribute("d") for path in curves],
        "read": root.locator(".lbx-read").inner_text(),
        "outputs": root.locator("output:visible").all_inner_texts(),
        "values": [i.input_value() for i in root.locator("input:visible").all()],
    }


def test_the_arrow_key_moves_the_curve(browser_page):
    tab = browser_page(huber())
    root = tab.locator(".lbx")
    before = state(tab, root)
    slider(root, "delta").focus()
    for _ in range(25):
        tab.keyboard.press("ArrowRight")
    after = state(tab, root)
    assert before["outputs"] == ["1.00", "2.00"]
    assert after["outputs"] == ["1.50", "2.00"]
    assert "loss 1.500" in before["read"]
    assert "loss 1.875" in after["read"]
    assert before["curves"][0] != after["curves"][0]


def numbers(path):
    """The numbers in a path's text, in order."""
    return [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", path)]


def near(one, other):
    """Equal but for the rounding of a tenth of a pixel."""
    return abs(one[0] - other[0]) < 0.11 and abs(one[1] - other[1]) < 0.11


@pytest.mark.parametrize("make", ALL)
def test_the_script_draws_the_first_frame(browser_page, make):
    output = make()
    root = browser_page(output).locator(".lbx")
    curves = [p for p in drawn(output) if re.fullmatch(r"c\d", p.get("class", ""))]
    assert curves
    for path in curves:
        name = path.get("class")
        live = numbers(root.locator(f"> svg .{name}").get_attribute("d"))
        places = list(zip(live[::2], live[1::2], strict=True))
        first = numbers(path.get("d"))
        # Python leaves out points on straight lines.
        for point in zip(first[::2], first[1::2], strict=True):
            assert any(near(point, place) for place in places)


def test_the_script_shades_the_first_frame(browser_page):
    output = explore.psi_calculus([CATALOGUE["focal"]], over="margin")
    root = browser_page(output).locator(".lbx")
    (path,) = (p for p in drawn(output) if p.get("class") == "shade")
    live = root.locator("> svg .shade").get_attribute("d")
    assert numbers(live) == pytest.approx(numbers(path.get("d")), abs=0.11)


def drawn(output):
    """The paths of the image that Python drew."""
    return ElementTree.fromstring(output.frame().svg()).iter(f"{SVG}path")


def test_home_and_end_reach_the_ends(browser_page):
    tab = browser_page(huber())
    root = tab.locator(".lbx")
    slider(root, "delta").focus()
    tab.keyboard.press("End")
    assert state(tab, root)["outputs"][0] == "3.00"
    tab.keyboard.press("Home")
    assert state(tab, root)["outputs"][0] == "0.10"


def test_a_slider_says_its_name_and_value(browser_page):
    tab = browser_page(huber())
    delta = tab.get_by_label("δ threshold")
    assert delta.get_attribute("aria-valuetext") == "δ 1.00"
    delta.press("ArrowRight")
    assert delta.get_attribute("aria-valuetext") == "δ 1.02"
    output = tab.locator(".lbx-row[data-key=delta] output")
    assert output.get_attribute("aria-live") == "off"
    assert delta.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_the_mouse_drags_a_slider(browser_page):
    tab = browser_page(huber())
    root = tab.locator(".lbx")
    before = state(tab, root)
    box = slider(root, "delta").bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] * 0.31, middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.9, middle, steps=5)
    tab.mouse.up()
    after = state(tab, root)
    assert float(after["outputs"][0]) > 2.5
    assert after["curves"] != before["curves"]


def test_the_mouse_drags_the_point(browser_page):
    tab = browser_page(huber())
    root = tab.locator(".lbx")
    box = root.locator("> svg").bounding_box()
    tab.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + 2 * box["width"], box["y"] + 0.5 * box["height"])
    tab.mouse.up()
    assert state(tab, root)["outputs"] == ["1.00", "4.00"]


def test_touch_moves_a_slider(browser_page):
    tab = browser_page(huber(), width=390, has_touch=True)
    root = tab.locator(".lbx")
    box = slider(root, "delta").bounding_box()
    assert box["height"] >= 24
    tab.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert float(state(tab, root)["outputs"][0]) > 2


def test_a_finger_drags_the_point(browser_page):
    tab = browser_page(huber(), width=390, has_touch=True)
    root = tab.locator(".lbx")
    box = root.locator("> svg").bounding_box()
    across, y = box["width"], box["y"] + 0.4 * box["height"]
    client = tab.context.new_cdp_session(tab)

    def touch(kind, *points):
        places = [{"x": box["x"] + x * across, "y": y} for x in points]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", 0.5)
    for share in (0.4, 0.3, 0.2):
        touch("touchMove", share)
    touch("touchEnd")
    assert float(state(tab, root)["outputs"][1].replace("−", "-")) < -2


def test_reset_restores_the_first_frame(browser_page):
    tab = browser_page(psi())
    root = tab.locator(".lbx")
    before = state(tab, root)
    root.locator("select").select_option(FOCAL)
    slider(root, "gamma").press("End")
    slider(root, "probe").press("Home")
    assert state(tab, root) != before
    root.get_by_role("button", name="Reset").click()
    assert state(tab, root) == before
    root.locator("select").select_option(FOCAL)
    assert slider(root, "gamma").input_value() == "2"


def test_the_menu_changes_curves_sliders_and_shade(browser_page):
    tab = browser_page(psi())
    root = tab.locator(".lbx")
    before = state(tab, root)
    shade = root.locator("> svg .shade")
    assert shade.get_attribute("d") == ""
    assert slider(root, "gamma").is_hidden()
    root.get_by_label("loss", exact=True).select_option(FOCAL)
    after = state(tab, root)
    assert slider(root, "gamma").is_visible()
    assert slider(root, "q").is_hidden()
    assert after["curves"] != before["curves"]
    # Focal with gamma 2 is not convex for p below 0.058.
    ends = re.match(r"M([\d.]+) [\d.]+H([\d.]+)V", shade.get_attribute("d"))
    frame = psi().frame()
    assert float(ends[1]) == pytest.approx(frame.sx(0), abs=0.1)
    assert float(ends[2]) == pytest.approx(frame.sx(0.058), abs=0.5)
    assert "not convex in the logits (outside)" in after["read"]
    slider(root, "probe").press("Home")
    assert "not convex in the logits (inside)" in state(tab, root)["read"]


def test_what_is_no_number_is_a_word(browser_page):
    explorer = explore.Explorer(
        variable="x",
        curves={"pole": "1/x**2", "fall": "log(x**2)", "root": "sqrt(x - 1)"},
        x_range=(-1, 1),
        y_range=(-2, 4),
        probe=0,
        alt="a pole",
    )
    read = state(tab := browser_page(explorer), tab.locator(".lbx"))["read"]
    assert "pole infinite" in read
    assert "fall −infinite" in read
    assert "root undefined" in read
    assert "NaN" not in tab.locator("main").inner_text()


def test_the_sentence_waits_for_rest(browser_page):
    tab = browser_page(huber())
    said = tab.locator(".lbx-say")
    assert said.get_attribute("aria-live") == "polite"
    first = said.inner_text()
    assert first.startswith("δ = 1.00. r = 2.00, loss 1.500")
    # The clock stands still but where the test moves it.
    tab.clock.install(time=0)
    tab.clock.pause_at(1000)
    delta = slider(tab.locator(".lbx"), "delta")
    for _ in range(5):
        delta.press("ArrowRight")
        tab.clock.run_for(100)
    assert said.inner_text() == first
    tab.clock.run_for(500)
    assert said.inner_text().startswith("δ = 1.10.")


def test_the_lab_walks_through_its_states(browser_page):
    tab = browser_page(weights_lab())
    root = tab.locator(".lbx")
    before = state(tab, root)
    assert before["outputs"] == ["3", "0.25 p"]
    assert "cost 0.75" in before["read"]
    slider(root, "weight").press("ArrowRight")
    slider(root, "threshold").press("End")
    after = state(tab, root)
    assert after["outputs"] == ["10", "0.75 p"]
    assert "cost 7.50" in after["read"]
    assert after["curves"][0] != before["curves"][0]
    assert root.locator("> svg use").count() == 3


def test_a_table_answers(browser_page):
    tab = browser_page(tabled())
    root = tab.locator(".lbx")
    before = state(tab, root)
    slider(root, "height").press("End")
    assert state(tab, root)["curves"] != before["curves"]


def stroke(tab, root):
    return curve(root).evaluate("e => getComputedStyle(e).stroke")


def rgb(color):
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return f"rgb({parts[0]}, {parts[1]}, {parts[2]})"


def test_colors_follow_the_theme(browser_page):
    tab = browser_page(huber())
    root = tab.locator(".lbx")
    assert stroke(tab, root) == rgb(style.CURVES[0].light)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    tab.wait_for_selector(".lbx.lbx-dark")
    assert stroke(tab, root) == rgb(style.CURVES[0].dark)
    tab.evaluate("document.documentElement.dataset.theme = 'light'")
    tab.wait_for_selector(".lbx:not(.lbx-dark)")
    assert stroke(tab, root) == rgb(style.CURVES[0].light)


def test_a_light_page_stays_light_on_a_dark_system(browser_page):
    tab = browser_page(huber(), color_scheme="dark")
    assert stroke(tab, tab.locator(".lbx")) == rgb(style.CURVES[0].light)


def test_dashes_and_marks_differ(browser_page):
    tab = browser_page(psi())
    root = tab.locator(".lbx")
    dashes = [
        curve(root, k).evaluate("e => getComputedStyle(e).strokeDasharray")
        for k in range(3)
    ]
    shapes = [root.locator(f"> svg .m{k}").get_attribute("d") for k in range(3)]
    assert len(set(dashes)) == len(set(shapes)) == 3
    assert root.locator(".lbx-read .lbx-sample path[class^=c]").count() == 3


def test_print_shows_the_drawing_and_the_setting(browser_page):
    tab = browser_page(psi(), theme="dark")
    root = tab.locator(".lbx")
    root.locator("select").select_option(FOCAL)
    tab.locator(".lbx-setting", has_text="γ = 2.00").wait_for(state="attached")
    tab.emulate_media(media="print")
    assert root.locator(".lbx-controls").is_hidden()
    assert root.locator(".lbx-menu").is_hidden()
    assert root.locator("> svg").is_visible()
    assert root.locator(".lbx-setting").inner_text().strip() == f"{FOCAL}, γ = 2.00."
    assert stroke(tab, root) == rgb(style.CURVES[0].light)


def test_without_javascript_the_image_stands(browser_page):
    tab = browser_page(huber(), java_script_enabled=False)
    image = tab.get_by_role(
        "img", name="The Huber loss and its slope over the residual"
    )
    assert image.bounding_box()["width"] > 500
    assert tab.locator(".lbx-title").inner_text() == "Huber's loss"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_page(browser_page, width):
    tab = browser_page(*(make() for make in ALL), width=width)
    content = tab.evaluate("document.documentElement.scrollWidth")
    assert content <= width
    for root in tab.locator(".lbx").all():
        right = root.evaluate(
            "e => Math.max(...[...e.querySelectorAll("
            "'input, output, label, select, .lbx-read span')]"
            ".map(inner => inner.getBoundingClientRect().right))"
        )
        assert right <= width


@pytest.mark.parametrize("width", [320, 360, 390, 420, 480, 560, 700, 1000])
def test_letters_keep_their_size(browser_page, width):
    tab = browser_page(huber(), width=width)
    size = tab.evaluate("""() => {
        const svg = document.querySelector(".lbx > svg");
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        return scale * parseFloat(getComputedStyle(svg.querySelector("text")).fontSize);
    }""")
    assert 10.5 <= size <= 15


def test_two_copies_are_independent(browser_page):
    tab = browser_page(huber(), huber(), psi())
    first, second, third = tab.locator(".lbx").all()
    before = state(tab, second), state(tab, third)
    slider(first, "delta").press("End")
    assert state(tab, first)["outputs"][0] == "3.00"
    assert (state(tab, second), state(tab, third)) == before
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_a_second_script_leaves_the_first_copy_alone(browser_page):
    tab = browser_page(huber())
    root = tab.locator(".lbx")
    slider(root, "delta").press("End")
    tab.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = document.querySelector("script").textContent;
        document.body.append(script);
    }""")
    assert state(tab, root)["outputs"][0] == "3.00"


def test_an_output_that_is_shown_again_works(browser_page):
    # A notebook moves the stored HTML elsewhere and runs its script again.
    tab = browser_page(huber())
    tab.evaluate("""() => {
        const main = document.querySelector("main");
        const html = main.innerHTML;
        main.innerHTML = html;
        for (const old of main.querySelectorAll("script")) {
            const script = document.createElement("script");
            script.textContent = old.textContent;
            old.replaceWith(script);
        }
    }""")
    # The theme changes, and no script of the old output trips over it.
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    tab.wait_for_selector(".lbx.lbx-dark")
    root = tab.locator(".lbx")
    assert root.locator("> svg").count() == 1
    assert root.locator(".lbx-controls").count() == 1
    slider(root, "delta").press("End")
    assert state(tab, root)["outputs"][0] == "3.00"


# A widget's model, as far as the script uses one.
MODEL = """async ([code, values]) => {
    const heard = {};
    window.model = {
        values, saved: 0,
        get: (name) => values[name],
        set: (name, value) => (values[name] = value),
        save_changes: () => (window.model.saved += 1),
        on: (event, act) => (heard[event] = act),
        comes: (name, value) => { values[name] = value; heard["change:" + name](); },
    };
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const module = await import(address);
    module.default.render({ model: window.model, el: document.querySelector("main") });
}"""


def open_live(browser_page, widget, names):
    """Return a tab with a widget's drawing, bound to a model without a kernel."""
    tab = browser_page()
    tab.add_style_tag(content=widget._css)
    values = {name: getattr(widget, name) for name in names}
    tab.evaluate(MODEL, [widget._esm, values])
    return tab


def test_a_live_explorer_and_its_model_agree(browser_page):
    tab = open_live(browser_page, huber().live(), ["delta", "probe"])
    root = tab.locator(".lbx")
    slider(root, "delta").press("End")
    assert tab.evaluate("[model.values.delta, model.saved]") == [3, 1]
    tab.evaluate("model.comes('delta', 0.5)")
    assert state(tab, root)["outputs"][0] == "0.50"
    assert tab.evaluate("model.saved") == 1


def test_a_live_menu_and_its_model_agree(browser_page):
    names = ["group", "gamma", "q", "probe"]
    tab = open_live(browser_page, psi().live(), names)
    root = tab.locator(".lbx")
    tab.evaluate("name => model.comes('group', name)", FOCAL)
    assert slider(root, "gamma").is_visible()
    assert root.locator("select").input_value() == FOCAL
    root.locator("select").select_option(index=0)
    assert tab.evaluate("model.values.group") == psi().groups[0].name


def test_a_live_lab_draws_what_was_trained(browser_page):
    live = weights_lab().live()
    tab = open_live(browser_page, live.view, ["frame", "busy"])
    root = tab.locator(".lbx")
    before = state(tab, root)
    assert "cost 0.75" in before["read"]
    live.controls["weight"].value = 10
    tab.evaluate("frame => model.comes('frame', frame)", live.view.frame)
    after = state(tab, root)
    assert "cost 2.50" in after["read"]
    assert after["curves"][0] != before["curves"][0]
    tab.evaluate("model.comes('busy', true)")
    assert "lbx-busy" in root.get_attribute("class")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser_page, theme):
    tab = browser_page(*(make() for make in ALL), theme=theme)
    tab.get_by_label("loss", exact=True).first.select_option(FOCAL)
    settle(tab)
    found = Axe().run(tab).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []


def test_a_step_is_measured(browser_page):
    tab = browser_page(psi())
    root = tab.locator(".lbx")
    slider(root, "probe").press("ArrowRight")
    settle(tab)
    assert float(root.get_attribute("data-ms")) >= 0
