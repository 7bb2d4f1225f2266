// Elements in Horizon's style, and its toasts.
;(() => {
  'use strict'

  function element(tag, classes = '', text = '') {
    const made = document.createElement(tag)
    made.className = classes
    made.textContent = text
    return made
  }

  /** A button with an icon of Font Awesome. Its clicks do not reach the menu or link around it. */
  function button(text, icon, onClick, classes = 'btn-default') {
    const made = element('button', `btn btn-sm ${classes}`)
    made.type = 'button'
    made.append(element('span', `fa fa-${icon}`), ` ${text}`)
    made.firstChild.setAttribute('aria-hidden', 'true')
    made.addEventListener('click', (event) => {
      event.preventDefault()
      event.stopPropagation()
      onClick()
    })
    return made
  }

  function setHidden(node, hidden) {
    node.classList.toggle('hidden', hidden)
  }

  /** Show a toast; `kind` is a class of Bootstrap's alerts. Horizon's toasts appear in Angular's next digest. */
  function toast(kind, text) {
    horizon.toast.add(kind, text)
    angular.element(document.body).injector().get('$rootScope').$applyAsync()
  }

  horizon.resumableGlance.dom = { button, element, setHidden, toast }
})()
