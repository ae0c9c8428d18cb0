"""A real browser: Chromium without a window, driven through its own driver."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

DEADLINE = 300
MISSING = "no browser here; to install one on Debian: apt-get install chromium chromium-driver"


def is_there() -> bool:
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


@dataclass(frozen=True)
class Browser:
    """A page of Dagster, as a person sees it."""

    driver: webdriver.Chrome
    address: str

    def open(self, path: str) -> None:
        self.driver.get(self.address + path)

    def wait(self, condition: Callable[[], object]) -> None:
        def holds(_: webdriver.Chrome) -> bool:
            try:
                return bool(condition())
            except StaleElementReferenceException:  # the page has drawn it anew
                return False

        WebDriverWait(self.driver, DEADLINE).until(holds, f"on {self.driver.current_url}:\n{self.text()}")

    def text(self) -> str:
        """What the page shows."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def see(self, *words: str) -> None:
        """Wait until the page shows all of the words."""
        for word in words:
            self.wait(lambda word=word: word in self.text())

    def element(self, xpath: str) -> WebElement:
        """The first element of that path, when it can be clicked."""
        found: list[WebElement] = []

        def ready() -> bool:
            found[:] = [each for each in self.driver.find_elements(By.XPATH, xpath) if each.is_displayed()]
            return bool(found) and found[0].is_enabled()

        self.wait(ready)
        return found[0]

    def press(self, label: str) -> None:
        self.element(f"//button[normalize-space()='{label}']").click()

    def picture(self, file: Path) -> None:
        self.driver.save_screenshot(str(file))


@contextmanager
def browsing(address: str) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,800"):
        options.add_argument(argument)
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    driver.set_page_load_timeout(DEADLINE)
    try:
        yield Browser(driver, address)
    finally:
        driver.quit()


def launch(browser: Browser, job: str, tenant: str) -> str:
    """Launch a job from its launchpad as a person does; gives the run's id when its page is open."""
    browser.open(f"/locations/hat_etl/jobs/{job}/playground")
    browser.element("//input[@placeholder='Partition']").send_keys(tenant)
    browser.element(f"//span[normalize-space()='{tenant}']").click()
    browser.see(f"partition: {tenant}")  # the page asks about a run without one when this comes late
    browser.press("Launch Run")
    browser.wait(lambda: "/runs/" in browser.driver.current_url)
    return browser.driver.current_url.rpartition("/runs/")[2].partition("?")[0]
